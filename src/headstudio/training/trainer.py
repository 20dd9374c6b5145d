"""The one loop that trains every method, driver and encoder.

What a step does follows from (seed, stage, step) alone, so a run that was stopped goes on to the same numbers as
one that was not. Processes share gradients by an explicit all-reduce, which holds for any number of players.
"""

import contextlib
import math
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from lightning_fabric import Fabric
from torch import Tensor

from headstudio.errors import HeadstudioError
from headstudio.progress import Progress as Display
from headstudio.progress import Silent
from headstudio.training import checkpoint
from headstudio.training.batches import BatchStream
from headstudio.training.contract import Batch, Sources, Trainable
from headstudio.training.interrupt import Interruptible
from headstudio.training.journal import Journal
from headstudio.training.players import ActivePlayer, free_only, playing
from headstudio.training.stages import Stage, at


@dataclass(frozen=True)
class TrainerConfig:
    """How to train, whatever is trained."""

    seed: int = 0
    """Everything random follows from it."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to train."""
    processes: int = 1
    """Processes (one a GPU) that share every step."""
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    """Arithmetic; bf16-mixed runs the networks in bfloat16."""
    accumulate: int = 1
    """Batches whose gradients are averaged in one step."""
    budget_s: float | None = None
    """Training seconds, shared among the stages by their steps; None trains all steps."""
    checkpoint_every_s: float = 60.0
    """Seconds between checkpoints."""
    log_every: int = 20
    """Steps between lines of the journal."""
    plateau_steps: int | None = None
    """End a stage when its smoothed loss has not fallen by 1 % in so many steps; None never does."""
    collapse_factor: float = 50.0
    """A step whose loss exceeds its smoothed value so many times, or is not finite, is dropped."""
    collapse_patience: int = 25
    """So many dropped steps end the run with an error."""
    tensorboard: bool = False
    """Also write TensorBoard files (extra `tensorboard`)."""


class Trainer:
    """Trains a trainable on sources in a folder, from where the folder's checkpoint stands."""

    def __init__(
        self,
        model: Trainable,
        sources: Sources,
        folder: Path,
        config: TrainerConfig | None = None,
        display: Display | None = None,
        initial_weights: Mapping[str, Tensor] | None = None,
    ) -> None:
        self.model, self.sources, self.folder = model, sources, Path(folder)
        self.config, self.display = config or TrainerConfig(), display or Silent()
        self.initial_weights = initial_weights or {}
        self.progress = checkpoint.Progress()
        self.averages: dict[str, Tensor] = {}
        """Moving averages of the stages that are over, by parameter name."""

    def run(self) -> checkpoint.Progress:
        """Train to the end of the schedule, the budget or the plateau; the model then holds its averaged weights."""
        self.check()
        several = self.config.processes > 1
        fabric = Fabric(
            accelerator=self.config.device,
            devices=self.config.processes,
            strategy="ddp_spawn" if several else "auto",
            precision=self.config.precision,
        )
        fabric.launch(self._train)
        if several:  # the spawned processes trained copies; what they agreed on lies in the checkpoint
            self._prepare(torch.device("cpu"))
        self._take_averages()
        return self.progress

    def _train(self, fabric: Fabric) -> None:
        tensors = self._prepare(fabric.device)
        stages = self.model.stages()
        primary = fabric.is_global_zero
        with Interruptible() as interruptible, Journal(self.folder, self.config.tensorboard, primary) as journal:
            journal.cut(self.progress.stage, self.progress.step)
            while self.progress.stage < len(stages):
                _Session(self, fabric, stages, interruptible, journal).run(tensors)
                tensors = {}

    def _prepare(self, device: torch.device) -> dict[str, Tensor]:
        torch.manual_seed(self.config.seed)
        saved = checkpoint.load(self.folder)
        if saved is None:
            self.model.setup(self.sources)
            _start_from(self.model, self.initial_weights)
            tensors: dict[str, Tensor] = {}
        else:
            tensors, self.progress, content = saved
            self.model.restore(content["state"])
            checkpoint.replace_tensors(self.model, _under(tensors, "model/"))
            self.averages = _under(tensors, "final_average/")
        self.model.attach(self.sources)
        self.model.to(device).train()
        return tensors

    @torch.no_grad()
    def _take_averages(self) -> None:
        named = dict(self.model.named_parameters())
        for name, value in self.averages.items():
            named[name].copy_(value)

    def check(self) -> None:
        """Refuse sources that lack a role or an annotation, before anything is written."""
        trainable = type(self.model).__name__
        missing = sorted(type(self.model).roles - {role for role, listed in self.sources.items() if listed})
        if missing:
            raise HeadstudioError(f"{trainable} needs a source for {', '.join(missing)}", next_step="name its capture")
        for listed in self.sources.values():
            for source in listed:
                lacking = sorted(a.value for a in type(self.model).needs - source.capture.annotations)
                if lacking:
                    raise HeadstudioError(
                        f"{trainable} needs {', '.join(lacking)}, which this capture lacks",
                        where=source.capture.path,
                        next_step=f"run `headstudio annotate {source.capture.path}`",
                    )


class _Session:
    """One stage of one run."""

    def __init__(
        self,
        trainer: Trainer,
        fabric: Fabric,
        stages: tuple[Stage, ...],
        interruptible: Interruptible,
        journal: Journal,
    ) -> None:
        self.trainer, self.fabric, self.interruptible, self.journal = trainer, fabric, interruptible, journal
        self.config, self.model, self.progress = trainer.config, trainer.model, trainer.progress
        self.stage = stages[self.progress.stage]
        self.deadline_s = _deadline(self.config.budget_s, stages, self.progress.stage)
        self.players = [ActivePlayer(player, self.model) for player in self.stage.players]
        self.freed: ActivePlayer | None = None

    def run(self, tensors: dict[str, Tensor]) -> None:
        """All remaining steps of the stage."""
        if tensors:
            for active in self.players:
                active.unpack(tensors)
        stream = BatchStream(
            self.trainer.sources,
            self.stage,
            self.config.seed,
            self.fabric.global_rank,
            self.fabric.device,
            self.model.signals,
        )
        with (
            contextlib.closing(stream),
            self.trainer.display.stage(f"train {self.stage.name}", self.stage.steps) as advance,
        ):
            advance(self.progress.step)
            self._steps(stream, advance)
        self._finish()

    def _steps(self, stream: BatchStream, advance: Callable[[int], None]) -> None:
        last_save = time.monotonic()
        while self.progress.step < self.stage.steps and not self._agreed(self._exhausted()):
            started = time.monotonic()
            self._step(stream)
            advance(1)
            now = time.monotonic()
            self.progress.elapsed_s += now - started
            if self._agreed(self.interruptible.asked):
                self._save()
                raise HeadstudioError(
                    f"training was stopped at step {self.progress.step} of stage {self.stage.name} and saved",
                    where=self.trainer.folder,
                    next_step="run the same command to go on",
                )
            if now - last_save > self.config.checkpoint_every_s:
                self._save()
                last_save = time.monotonic()

    def _step(self, stream: BatchStream) -> None:
        step = self.progress.step
        event = self.stage.events.get(step)
        if event is not None:
            self.model.on_event(event)
            for active in self.players:
                active.select(self.model)
            self.freed = None
        for position, active in enumerate(playing(self.players, self.stage, self.config.seed, step)):
            torch.manual_seed(random.Random(f"{self.config.seed}/{self.stage.name}/{step}/{position}").getrandbits(62))
            self._play(active, stream, step)
        self.progress.step += 1

    def _play(self, active: ActivePlayer, stream: BatchStream, step: int) -> None:
        player = active.player
        if self.freed is not active:
            free_only(self.model, active)
            self.freed = active
        totals: list[Tensor] = []
        for part in range(self.config.accumulate):
            batch = stream.batch(player, step * self.config.accumulate + part)
            losses = self._losses(batch, active)
            total = sum((at(player.losses[name], step) * value for name, value in losses.items()), torch.zeros(()))
            self.fabric.backward(total / self.config.accumulate)
            totals.append(total.detach())
        total = torch.stack(totals).mean()
        rate = 0.0
        if self._sane(player.name, float(self._reduced(total, "mean"))):
            self._average_gradients(active)
            rate = active.learn(step)
        active.forget_gradients()
        if step % self.config.log_every == 0 or step == self.stage.steps - 1:
            self.journal.write(self.progress, self.stage.name, player.name, losses, float(total), rate)

    def _losses(self, batch: Batch, active: ActivePlayer) -> dict[str, Tensor]:
        with self.fabric.autocast():
            losses = self.model.losses(batch, self.stage, active.player)
        if losses.keys() != active.player.losses.keys():
            odd = ", ".join(sorted(losses.keys() ^ active.player.losses.keys()))
            raise HeadstudioError(
                f"losses and weights of player {active.player.name} differ: {odd}", next_step="mend the method's stage"
            )
        return losses

    def _average_gradients(self, active: ActivePlayer) -> None:
        if self.fabric.world_size == 1:
            return
        for parameter in active.parameters.values():
            gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            parameter.grad = self._reduced(gradient, "mean")

    def _sane(self, player: str, total: float) -> bool:
        key = f"{self.stage.name}/{player}"
        smoothed = self.progress.smoothed.get(key)
        bound = math.inf if smoothed is None else self.config.collapse_factor * max(abs(smoothed), 1e-8)
        if math.isfinite(total) and abs(total) <= bound:
            self.progress.smoothed[key] = total if smoothed is None else 0.98 * smoothed + 0.02 * total
            return True
        self.progress.skipped += 1
        if self.progress.skipped > self.config.collapse_patience:
            raise HeadstudioError(
                f"training of player {player} in stage {self.stage.name} collapsed: loss {total:.3g}",
                where=self.trainer.folder,
                next_step="lower the learning rate or look at the training report",
            )
        return False

    def _agreed(self, flag: bool) -> bool:
        # Clocks and signals differ between processes; all must leave the loop at the same step.
        if self.fabric.world_size == 1:
            return flag
        return bool(self._reduced(torch.tensor(float(flag), device=self.fabric.device), "sum") > 0)

    def _reduced(self, value: Tensor, operation: str) -> Tensor:
        reduced = self.fabric.all_reduce(value, reduce_op=operation)
        assert isinstance(reduced, Tensor)
        return reduced

    def _exhausted(self) -> bool:
        if self.progress.elapsed_s >= self.deadline_s:
            return True
        patience = self.config.plateau_steps
        key = f"{self.stage.name}/{self.stage.players[0].name}"
        if patience is None or key not in self.progress.smoothed:
            return False
        value = self.progress.smoothed[key]
        if self.progress.best is None or value < 0.99 * self.progress.best:
            self.progress.best, self.progress.best_step = value, self.progress.step
        return self.progress.step - self.progress.best_step > patience

    def _finish(self) -> None:
        for active in self.players:
            self.trainer.averages |= active.average
        self.progress.stage, self.progress.step = self.progress.stage + 1, 0
        self.progress.best, self.progress.best_step = None, 0
        self.players = []
        self._save()

    def _save(self) -> None:
        if not self.fabric.is_global_zero:
            return
        tensors = {f"model/{name}": value for name, value in self.model.state_dict().items()}
        tensors |= {f"final_average/{name}": value for name, value in self.trainer.averages.items()}
        for active in self.players:
            tensors |= active.pack()
        checkpoint.save(self.trainer.folder, tensors, self.progress, {"state": self.model.state()})


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _start_from(model: torch.nn.Module, weights: Mapping[str, Tensor]) -> None:
    # Parameters alone: buffers hold who the person is, which `setup` has just found anew.
    own = dict(model.named_parameters())
    fitting = {name: value for name, value in weights.items() if name in own and own[name].shape == value.shape}
    if weights and not fitting:
        raise HeadstudioError(
            "none of the given weights fits the model", next_step="name an avatar with a like configuration"
        )
    model.load_state_dict(fitting, strict=False)


def _deadline(budget_s: float | None, stages: tuple[Stage, ...], stage: int) -> float:
    if budget_s is None:
        return math.inf
    steps = [s.steps for s in stages]
    return budget_s * sum(steps[: stage + 1]) / max(sum(steps), 1)
