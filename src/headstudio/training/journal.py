"""What a run reported: one JSON line for each logged step and player, and TensorBoard when asked."""

import json
from pathlib import Path

from torch import Tensor

from headstudio.errors import HeadstudioError
from headstudio.training.checkpoint import Progress

NAME = "journal.jsonl"


class Journal:
    """Appends to the run's journal; only terms that are summed appear."""

    def __init__(self, folder: Path, tensorboard: bool, active: bool) -> None:
        self.path, self._active = folder / NAME, active
        self._board = _board(folder / "tensorboard") if tensorboard and active else None

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *exception: object) -> None:
        if self._board is not None:
            self._board.close()

    def cut(self, stage: int, step: int) -> None:
        """Drop lines of steps after the checkpoint, which will be done again."""
        if not self._active or not self.path.exists():
            return
        kept = [entry for entry in read(self.path) if (entry["stage_index"], entry["step"]) < (stage, step)]
        self.path.write_text("".join(json.dumps(entry) + "\n" for entry in kept), encoding="utf-8")

    def write(
        self, progress: Progress, stage: str, player: str, losses: dict[str, Tensor], total: float, rate: float
    ) -> None:
        """One line."""
        if not self._active:
            return
        terms = {name: float(value.detach()) for name, value in losses.items()}
        entry = {
            "stage_index": progress.stage,
            "stage": stage,
            "step": progress.step,
            "player": player,
            "total": total,
            "losses": terms,
            "learning_rate": rate,
            "elapsed_s": round(progress.elapsed_s, 2),
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")
        if self._board is not None:
            for name, value in terms.items():
                self._board.add_scalar(f"{stage}/{player}/{name}", value, progress.step)


def read(path: Path) -> list[dict]:
    """The entries of a journal; a line cut off by a crash is left out."""
    if not path.exists():
        return []
    entries = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            entries.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return entries


def _board(folder: Path):
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise HeadstudioError(
            "TensorBoard is not installed", next_step="pip install 'headstudio[tensorboard]' or leave --tensorboard out"
        ) from None
    return SummaryWriter(str(folder))
