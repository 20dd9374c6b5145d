"""A run of stages that goes on where it stopped: what each was made from, what it wrote and how long it took."""

import hashlib
import json
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import headstudio
from headstudio import storage
from headstudio.cli.console import Display
from headstudio.errors import HeadstudioError

SCHEMA, VERSION, FILE_NAME = "headstudio.stages", 1, "stages.json"


@dataclass(frozen=True)
class Entry:
    """One stage as it stands."""

    key: str
    """Follows from all that the stage was made from."""
    products: tuple[str, ...]
    """What it wrote, relative to the folder."""
    seconds: float = 0.0
    """Time it took, all attempts together."""
    stamp: str = ""
    """Differs between any two times the stage was made; empty while it is unfinished."""


class Ledger:
    """The stages of one output folder."""

    def __init__(self, folder: Path, display: Display) -> None:
        self.folder, self.display = folder, display
        self.entries = _read(folder / FILE_NAME)
        self.kept: list[str] = []
        """Stages of this run whose product was still good."""

    def stage(
        self,
        name: str,
        made_from: Mapping[str, Any],
        after: Sequence[str],
        products: Sequence[str],
        work: Callable[[], object],
        forget: Callable[[], object] = lambda: None,
    ) -> None:
        """Do the work unless its product is there already, made from the same.

        Args:
            name: of the stage.
            made_from: plain data that decides what comes out.
            after: stages whose products it uses.
            products: what it writes, relative to the folder.
            work: does it.
            forget: removes what an unfinished attempt on other terms left behind.
        """
        key = self._key(made_from, after)
        entry = self.entries.get(name)
        if entry and entry.key == key and entry.stamp and all((self.folder / p).exists() for p in entry.products):
            self.kept.append(name)
            self.display.say(f"{name}: kept, nothing it was made from has changed")
            return
        if entry is None or entry.key != key:
            forget()
            entry = Entry(key, tuple(products))
        self._write(name, replace(entry, stamp=""))
        started_s = time.monotonic()
        stamp = ""
        try:
            work()
            stamp = secrets.token_hex(8)
        finally:
            took_s = time.monotonic() - started_s
            self._write(name, replace(entry, seconds=round(entry.seconds + took_s, 1), stamp=stamp))

    def timings(self) -> dict[str, float]:
        """Seconds by stage, in the order in which they were first made."""
        return {name: entry.seconds for name, entry in self.entries.items()}

    def products(self) -> dict[str, list[Path]]:
        """What every finished stage wrote."""
        return {name: [self.folder / p for p in e.products] for name, e in self.entries.items() if e.stamp}

    def _key(self, made_from: Mapping[str, Any], after: Sequence[str]) -> str:
        upstream = [self.entries[name].stamp for name in after]
        content = {"version": headstudio.__version__, "made_from": made_from, "after": upstream}
        return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()

    def _write(self, name: str, entry: Entry) -> None:
        self.entries[name] = entry
        content = {"stages": {known: asdict(value) for known, value in self.entries.items()}}
        storage.write_json(self.folder / FILE_NAME, SCHEMA, VERSION, content)


def _read(path: Path) -> dict[str, Entry]:
    if not path.exists():
        return {}
    content = storage.read_json(path, SCHEMA, VERSION)
    try:
        return {name: Entry(**{**e, "products": tuple(e["products"])}) for name, e in content["stages"].items()}
    except (KeyError, TypeError, AttributeError):
        raise HeadstudioError(
            "the record of the stages is damaged", where=path, next_step="delete it; everything is made again"
        ) from None
