"""Builds the web page of `headstudio export --to web` into the package, so that users of a wheel need no npm."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PAGE = Path("src/headstudio/export/web_page/index.html")
SOURCES = ("web/src", "web/static", "web/build.mjs", "web/package-lock.json")


class WebPageHook(BuildHookInterface):
    """Runs npm where the page is missing or older than its sources; an editable install leaves that to `make web`."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called by hatchling before it collects files."""
        root = Path(self.root)
        if version == "editable" or is_fresh(root):
            return
        npm = shutil.which("npm")
        if npm is None:
            self.app.display_warning("npm is not here: this package cannot `export --to web`")
            return
        for command in (["ci", "--no-audit", "--no-fund"], ["run", "build"]):
            subprocess.run([npm, *command], cwd=root / "web", check=True)


def is_fresh(root: Path) -> bool:
    """Whether a page is there that is not older than its sources; a source archive has the page alone."""
    page = root / PAGE
    if not page.is_file():
        return False
    files = [f for name in SOURCES for f in [root / name, *(root / name).rglob("*")] if f.is_file()]
    return all(f.stat().st_mtime <= page.stat().st_mtime for f in files)
