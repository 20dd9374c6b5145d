"""Stages that go on where they stopped."""

import pytest

from headstudio.cli.console import Display
from headstudio.cli.ledger import FILE_NAME, Ledger
from headstudio.errors import HeadstudioError


class Kitchen:
    """Two stages, the second made from the first."""

    def __init__(self, folder):
        self.folder, self.cooked, self.forgotten = folder, [], []

    def run(self, salt=1, fail=False):
        ledger = Ledger(self.folder, Display())
        ledger.stage("dough", {"salt": salt}, (), ("dough",), lambda: self.cook("dough"), self.forget)
        ledger.stage("bread", {}, ("dough",), ("bread",), lambda: self.cook("bread", fail), self.forget)
        return ledger

    def cook(self, name, fail=False):
        self.cooked.append(name)
        if fail:
            raise HeadstudioError("the oven is cold", next_step="light it")
        (self.folder / name).write_text(name)

    def forget(self):
        self.forgotten.append(len(self.cooked))


@pytest.fixture
def kitchen(tmp_path):
    return Kitchen(tmp_path)


def test_what_is_done_is_kept(kitchen):
    assert kitchen.run().kept == []
    assert kitchen.run().kept == ["dough", "bread"]
    assert kitchen.cooked == ["dough", "bread"]


def test_a_change_makes_everything_after_it_anew(kitchen):
    kitchen.run()
    kitchen.run(salt=2)
    assert kitchen.cooked == ["dough", "bread"] * 2
    assert kitchen.run(salt=2).kept == ["dough", "bread"]


def test_a_lost_product_is_made_again_with_what_depends_on_it(kitchen):
    kitchen.run()
    (kitchen.folder / "bread").unlink()
    assert kitchen.run().kept == ["dough"]
    (kitchen.folder / "dough").unlink()
    kitchen.run()
    assert kitchen.cooked == ["dough", "bread", "bread", "dough", "bread"]


def test_a_failed_stage_goes_on_and_forgets_only_what_was_made_on_other_terms(kitchen):
    with pytest.raises(HeadstudioError):
        kitchen.run(fail=True)
    assert kitchen.forgotten == [0, 1]
    ledger = kitchen.run()
    assert ledger.kept == ["dough"] and kitchen.forgotten == [0, 1]
    kitchen.run(salt=2)
    assert kitchen.forgotten == [0, 1, 3, 4]


def test_time_adds_up_over_attempts(kitchen, monkeypatch):
    ticks = iter(range(0, 1000, 10))
    monkeypatch.setattr("headstudio.cli.ledger.time.monotonic", lambda: next(ticks))
    with pytest.raises(HeadstudioError):
        kitchen.run(fail=True)
    assert kitchen.run().timings() == {"dough": 10.0, "bread": 20.0}


def test_a_damaged_record_is_told(kitchen):
    kitchen.run()
    where = kitchen.folder / FILE_NAME
    where.write_text(where.read_text().replace('"key"', '"kee"'))
    with pytest.raises(HeadstudioError, match="damaged"):
        kitchen.run()
