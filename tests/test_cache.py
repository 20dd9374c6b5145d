"""The cache folder: where it is, that it is used, and that damage to it harms nobody."""

import sys
from pathlib import Path

import pytest
import torch

from headstudio.cache import cache_folder, cached_tensors


class _Builder:
    def __init__(self):
        self.calls = 0

    def __call__(self):
        self.calls += 1
        return {"values": torch.arange(6.0).reshape(2, 3).T}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HEADSTUDIO_CACHE", str(tmp_path / "deep" / "cache"))
    return tmp_path / "deep" / "cache"


def test_built_once_and_then_read(folder):
    build = _Builder()
    first, second = cached_tensors("table", build), cached_tensors("table", build)
    assert build.calls == 1
    torch.testing.assert_close(first["values"], second["values"], atol=0, rtol=0)
    assert [path.name for path in folder.iterdir()] == ["table.safetensors"]
    cached_tensors("other", build)
    assert build.calls == 2


@pytest.mark.parametrize("damage", ["empty", "cut", "noise", "nan", "folder"])
def test_damaged_tables_are_built_again(folder, damage):
    build = _Builder()
    cached_tensors("table", build)
    path = folder / "table.safetensors"
    raw = path.read_bytes()
    path.unlink()
    if damage == "folder":
        path.mkdir()
    else:
        nan = raw[:-4] + b"\x00\x00\xc0\x7f"
        path.write_bytes({"empty": b"", "cut": raw[:-5], "noise": b"x" * 100, "nan": nan}[damage])
    assert torch.equal(cached_tensors("table", build)["values"], build()["values"])
    assert build.calls == 3


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("HEADSTUDIO_CACHE", str(tmp_path / "file" / "cache"))
    build = _Builder()
    assert torch.equal(cached_tensors("table", build)["values"], build()["values"])


@pytest.mark.parametrize(
    ("platform", "variable", "expected"),
    [
        ("linux", "XDG_CACHE_HOME", ("base", "headstudio")),
        ("win32", "LOCALAPPDATA", ("base", "headstudio", "cache")),
        ("darwin", "HOME", ("base", "Library", "Caches", "headstudio")),
    ],
)
def test_each_system_has_its_place(platform, variable, expected, tmp_path, monkeypatch):
    monkeypatch.delenv("HEADSTUDIO_CACHE", raising=False)
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setenv(variable, str(tmp_path / "base"))
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "base")
    assert cache_folder() == tmp_path.joinpath(*expected)
