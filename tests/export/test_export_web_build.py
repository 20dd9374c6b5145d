"""The built page, and the wheel that carries it to people without npm."""

import importlib.util
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from headstudio.export.web import PAGE

ROOT = Path(__file__).parents[2]
FILES = {"index.html", "page.css", "page.js", "ort.wasm", "THIRD_PARTY.txt"}

built = pytest.mark.skipif(not (PAGE / "index.html").is_file(), reason="the web page is not built: run `make web`")


@built
def test_the_page_is_complete_and_points_nowhere_else():
    assert {path.name for path in PAGE.iterdir()} == FILES
    for name in ("index.html", "page.css"):
        assert not re.search(r"https?:|//", (PAGE / name).read_text())
    policy = re.search(r'content="(default-src [^"]*)"', (PAGE / "index.html").read_text())
    assert policy and "http" not in policy[1] and "*" not in policy[1]


@built
def test_the_libraries_inside_are_named_with_their_licences():
    text = (PAGE / "THIRD_PARTY.txt").read_text()
    for name in ("three.js", "ONNX Runtime Web"):
        assert re.search(rf"--- {re.escape(name)} \d+\.\d+\.\d+", text)
    assert text.count("Permission is hereby granted") == 2


@built
@pytest.mark.slow
def test_a_wheel_carries_the_page(tmp_path):
    pytest.importorskip("hatchling", reason="hatchling, which builds the wheel, is not installed")
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-w", tmp_path, ROOT]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    (wheel,) = tmp_path.glob("*.whl")
    inside = {name.rsplit("/", 1)[1] for name in zipfile.ZipFile(wheel).namelist() if "/web_page/" in name}
    assert inside == FILES


@pytest.fixture
def is_fresh():
    pytest.importorskip("hatchling", reason="hatchling, which builds the wheel, is not installed")
    spec = importlib.util.spec_from_file_location("hatch_web_page", ROOT / "scripts" / "hatch_web_page.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.is_fresh


def test_a_page_older_than_its_sources_is_built_again(is_fresh, tmp_path):
    page, source = tmp_path / "src/headstudio/export/web_page/index.html", tmp_path / "web/src/main.js"
    assert not is_fresh(tmp_path)
    page.parent.mkdir(parents=True)
    page.write_text("page")
    assert is_fresh(tmp_path)  # a source archive brings the page without what it was made of
    source.parent.mkdir(parents=True)
    source.write_text("new")
    os.utime(page, (1, 1))
    assert not is_fresh(tmp_path)
    os.utime(source, (0, 0))
    assert is_fresh(tmp_path)
