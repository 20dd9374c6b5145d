"""Benchmarks are commands beside the package; their parts are tested like everything else."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
