"""Shared fixtures. The toys are put on the path with their own entry points: a package headstudio does not know of."""

import sys
from pathlib import Path

TESTS = Path(__file__).parent
sys.path[:0] = [str(TESTS), str(TESTS / "toys")]
