"""The players of a stage at work: who learns in a step, with what optimiser, guarded and averaged."""

import fnmatch
import random
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from headstudio.errors import HeadstudioError
from headstudio.training import checkpoint
from headstudio.training.stages import Every, OneOf, Optimiser, Player, Stage, at


class ActivePlayer:
    """One player of the current stage with its parameters and optimiser."""

    def __init__(self, player: Player, model: nn.Module) -> None:
        self.player = player
        self.parameters: dict[str, nn.Parameter] = {}
        self.optimiser: torch.optim.Optimizer | None = None
        self.average: dict[str, Tensor] = {}
        self.select(model)

    def select(self, model: nn.Module) -> None:
        """Choose the parameters anew; an optimiser keeps what it knew of those that stayed the same objects."""
        chosen = {name: p for name, p in model.named_parameters() if _matches(name, self.player.parameters)}
        if not chosen:
            patterns = ", ".join(self.player.parameters)
            raise HeadstudioError(
                f"player {self.player.name} frees no parameter: nothing matches {patterns}", next_step="mend the stage"
            )
        known = {} if self.optimiser is None else dict(self.optimiser.state)
        self.parameters = chosen
        self.optimiser = _build(self.player.optimiser, chosen.values())
        self.optimiser.state.update({p: known[p] for p in chosen.values() if p in known})
        if self.player.ema is not None:
            kept = {
                n: self.average[n] for n, p in chosen.items() if n in self.average and self.average[n].shape == p.shape
            }
            self.average = {name: p.detach().clone() for name, p in chosen.items()} | kept

    def learn(self, step: int) -> float:
        """Apply the gradients that stand in the parameters; returns the learning rate used."""
        assert self.optimiser is not None
        rate = self.player.optimiser.learning_rate * at(self.player.schedule, step)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        if self.player.clip is not None:
            torch.nn.utils.clip_grad_norm_(list(self.parameters.values()), self.player.clip)
        self.optimiser.step()
        self._follow()
        return rate

    def forget_gradients(self) -> None:
        """Drop the gradients."""
        assert self.optimiser is not None
        self.optimiser.zero_grad(set_to_none=True)

    def pack(self) -> dict[str, Tensor]:
        """Optimiser and average as named tensors."""
        assert self.optimiser is not None
        names = {parameter: name for name, parameter in self.parameters.items()}
        packed = checkpoint.pack_optimiser(f"optimiser/{self.player.name}", self.optimiser, names)
        return packed | {f"average/{self.player.name}/{name}": value for name, value in self.average.items()}

    def unpack(self, tensors: Mapping[str, Tensor]) -> None:
        """Take back what `pack` gave."""
        assert self.optimiser is not None
        names = {parameter: name for name, parameter in self.parameters.items()}
        checkpoint.unpack_optimiser(f"optimiser/{self.player.name}", self.optimiser, names, tensors)
        prefix = f"average/{self.player.name}/"
        for key in self.average:
            self.average[key] = tensors[prefix + key].to(self.average[key].device)

    @torch.no_grad()
    def _follow(self) -> None:
        if self.player.ema is None:
            return
        for name, parameter in self.parameters.items():
            self.average[name].lerp_(parameter, 1.0 - self.player.ema)


def playing(players: Iterable[ActivePlayer], stage: Stage, seed: int, step: int) -> list[ActivePlayer]:
    """The players of one step, in the stage's order. Every process draws the same."""
    drawn: dict[str, str] = {}
    groups: dict[str, list[str]] = {}
    for active in players:
        if isinstance(active.player.when, OneOf):
            groups.setdefault(active.player.when.group, []).append(active.player.name)
    for group, names in groups.items():
        drawn[group] = random.Random(f"{seed}/{stage.name}/{group}/{step}").choice(names)
    return [active for active in players if _plays(active.player, step, drawn)]


def free_only(model: nn.Module, active: ActivePlayer) -> None:
    """Let gradients reach the player's parameters and no others."""
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in active.parameters)


def _plays(player: Player, step: int, drawn: Mapping[str, str]) -> bool:
    if isinstance(player.when, Every):
        return step % player.when.steps == 0
    if isinstance(player.when, OneOf):
        return drawn[player.when.group] == player.name
    return True


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _build(config: Optimiser, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    chosen = list(parameters)
    if config.kind == "sgd":
        return torch.optim.SGD(chosen, config.learning_rate, momentum=config.momentum, weight_decay=config.weight_decay)
    kind = torch.optim.Adam if config.kind == "adam" else torch.optim.AdamW
    return kind(chosen, config.learning_rate, betas=config.betas, weight_decay=config.weight_decay)
