"""`train-encoder` and `train-driver sequence` from the command line, on captures of noise."""

import re

import pytest

from headstudio.cli.main import main
from headstudio.records.avatar import Avatar
from headstudio.training.avatars import describe
from headstudio_toys.plain import PlainConfig, PlainToy
from support.tiny import tiny_source


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("encoder-driver")
    source = tiny_source(folder / "capture", frames=30)
    source.track.save(folder / "capture" / "track")
    avatar = PlainToy(PlainConfig())
    avatar.setup({"target": (source,)})
    describe(avatar, "toy-plain", "draft", {"target": (source,)}).save(folder / "avatar")
    return folder


def run(capsys, *arguments):
    code = main([*map(str, arguments), "--json"])
    told = capsys.readouterr()
    return code, told.out + told.err


def trained_encoder(place, capsys):
    small = ("--set", "width=8", "--set", "features=5", "--set", "steps=2", "--set", "batch_size=2")
    return run(
        capsys, "train-encoder", "face-expression", place / "capture", "-o", place / "encoder",
        "--cast.people", 0, "--device", "cpu", "--accumulate", 1, *small,
    )  # fmt: skip


def test_an_encoder_learns_from_captures_alone_and_a_driver_keeps_it_inside(place, capsys):
    code, told = trained_encoder(place, capsys)
    assert code == 0, told
    record = Avatar.load(place / "encoder")
    assert (record.kind, record.name) == ("encoders", "face-expression") and not (place / "encoder-people").exists()
    code, told = run(
        capsys, "train-driver", "sequence", place / "avatar", place / "capture", "-o", place / "driver",
        "--device", "cpu", "--set", "steps=2", "--set", "features.kind=encoder",
        "--set", f"features.path={place / 'encoder'}",
    )  # fmt: skip
    assert code == 0 and "7 before it" in told, told
    driver = Avatar.load(place / "driver")
    assert driver.state["features"]["encoder"]["name"] == "face-expression"
    assert any(name.startswith("features.encoder.") for name in driver.weights)


def test_captures_beside_the_avatar_are_found_for_a_driver_of_its_person(place, capsys):
    code, told = run(
        capsys, "train-driver", "sequence", place / "avatar", "-o", place / "beside", "--device", "cpu",
        "--set", "steps=2", "--set", "width=8",
    )  # fmt: skip
    assert code == 0, told
    (used,) = Avatar.load(place / "beside").provenance["sources"]["target"]
    assert used == Avatar.load(place / "avatar").provenance["sources"]["target"][0]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("train-encoder", "face-expression", "-o", "OUT/e", "--cast.people", "0"), "nobody to learn from"),
        (
            ("train-encoder", "nobody", "-o", "OUT/e", "--cast.people", "0", "OUT/capture"),
            "no encoder is called nobody",
        ),
        (("train-encoder", "face-expression", "OUT/none", "-o", "OUT/e", "--cast.people", "0"), "none"),
        (("train-encoder", "face-expression", "OUT/capture", "-o", "OUT/e", "--set", "width=wide"), "do not fit"),
        (("train-encoder", "face-expression", "OUT/capture", "-o", "OUT/e", "--set", "widht=8"), "no field widht"),
        (("train-driver", "sequence", "OUT/capture", "-o", "OUT/d"), "avatar"),
        (("train-driver", "sequence", "OUT/avatar", "OUT/avatar", "-o", "OUT/d"), "capture"),
        (("train-driver", "sequence", "OUT/avatar", "-o", "OUT/d", "--preset", "paper"), "no feature network"),
        (("train-driver", "sequence", "OUT/avatar", "-o", "OUT/d", "--set", "features.kind=encoder"), "train-encoder"),
        (
            ("train-driver", "sequence", "OUT/avatar", "-o", "OUT/d", "--set", "target=latent"),
            "no expression|cannot|code",
        ),
        (("train-driver", "sequence", "OUT/avatar", "-o", "OUT/d", "--set", "window=0"), "no network has"),
        (("train-driver", "sequence", "OUT/avatar", "-o", "OUT/d", "--set", "window=99"), "no usable run"),
    ],
)
def test_a_mistake_costs_one_sentence(place, capsys, monkeypatch, arguments, words):
    monkeypatch.delenv("HEADSTUDIO_FEATURES", raising=False)
    code, told = run(capsys, *(argument.replace("OUT", str(place)) for argument in arguments))
    assert code != 0 and "Traceback" not in told
    assert re.search(words, told), told
    assert not (place / "d").exists() and not (place / "e").exists()


def test_help_tells_of_both(capsys):
    for arguments in (("train-encoder", "face-expression", "--help"), ("train-driver", "sequence", "--help")):
        code = main(list(arguments))
        assert code == 0
        told = capsys.readouterr().out
        assert "steps = " in told and "learning_rate = " in told
