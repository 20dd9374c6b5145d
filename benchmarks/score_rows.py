"""What the benchmarks of avatars share: commands as a user gives them, and lines of a table from an evaluation."""

import subprocess
import sys

from headstudio.records.evaluation import Evaluation

REGIONS = ("face", "mouth", "eyes")
METRICS = ("L1", "PSNR", "SSIM")
HEADER = (f"| clip | region | row | {' | '.join(METRICS)} |", "|---|---|---|" + "---|" * len(METRICS))


def headstudio(*arguments: object) -> None:
    """One command of the program."""
    subprocess.run([sys.executable, "-m", "headstudio", *map(str, arguments)], check=True)


def score_line(clip: str, region: str, name: str, evaluation: Evaluation, competitor: str) -> str:
    """The scores of one competitor in one region, with the avatar's verdict against it.

    Args:
        clip: as the line names it.
        region: of the picture.
        name: of the competitor, as the line names it.
        evaluation: where the scores are.
        competitor: its name there.
    """
    marks = {"better": " +", "worse": " -", "tie": " ="}
    cells = []
    for metric in METRICS:
        row = evaluation.row(competitor, region, metric)
        verdict = evaluation.verdict(evaluation.avatar, competitor, region, metric)
        number = "" if row is None else f"{row.value:.{2 if metric == 'PSNR' else 4}f}"
        cells.append(number + marks.get(verdict or "", ""))
    return f"| {clip} | {region} | {name} | {' | '.join(cells)} |"
