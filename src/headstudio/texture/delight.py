"""De-lighting: the light that the views of a still head have in common, told apart from its colours.

Paper 1, section 3.3.1 optimises nine harmonics and the texels jointly under an L1 loss, from uniform light, the first
50 steps the light alone, and penalises light above 1. What the paper leaves open is settled here: while the light is
alone, the albedo is one colour a group of regions, which a light that stays with the head needs in order to be told
from colour at all; and the scale between light and albedo is set by a light whose mean over the seen texels is 1 in
each channel, so the camera's white balance is believed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import roma
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from headstudio.errors import HeadstudioError
from headstudio.render.colour import srgb_to_linear
from headstudio.render.light import Y00, turned
from headstudio.texture.unproject import LEAST_LIGHT, Samples


@dataclass(frozen=True)
class DelightConfig:
    """How light and albedo are told apart."""

    light_steps: int = 50
    """First steps that move the light alone; the paper's number."""
    joint_steps: int = 150
    """Steps that move light and albedo."""
    learning_rate: float = 0.03
    """Adam's rate for the light, which falls to a tenth; the albedo's is a third."""
    clipping: float = 0.1
    """Weight of light above 1 (the paper's term) and of albedo or lit colour outside [0, 1]."""
    flatness: float = 1.0
    """Weight of the albedo's distance to its group's colour, without which a light that stays with the head cannot be
    told from colour. The paper names none."""
    shadow_directions: int = 96
    """Directions from which the head's own shadow is looked up; the paper has 0, no shadow."""


@dataclass(frozen=True)
class TexelTable:
    """What the views say of the texels that de-lighting looks at."""

    colours: Float[Tensor, "views texels 3"]
    """Linear light."""
    weights: Float[Tensor, "views texels"]
    harmonics: Float[Tensor, "texels 9"]
    """What of the light reaches each texel, in head axes."""
    group: Int[Tensor, " texels"]
    """Texels of one group are near one colour."""
    places: Bool[Tensor, "size size"]
    """Where they lie in the atlas, row by row."""

    @classmethod
    def of(
        cls,
        samples: Samples,
        harmonics: Float[Tensor, "9 size size"],
        group: Int[Tensor, "size size"],
    ) -> "TexelTable":
        """The texels with a group of 0 or more that any view saw."""
        kept = (group >= 0) & (samples.weights.sum(0)[0] > _LEAST_WEIGHT)
        if int(kept.sum()) < _LEAST_TEXELS:
            raise HeadstudioError(
                f"the pictures show only {int(kept.sum())} texels of skin, too few to tell light from colour",
                next_step="check masks and cameras, or turn de-lighting off",
            )
        colours = srgb_to_linear(samples.colours[:, :, kept].float() / 255).transpose(1, 2)
        return cls(colours, samples.weights[:, 0, kept], harmonics[:, kept].T, group[kept], kept)


@dataclass(frozen=True)
class Delit:
    """The light, and the albedo of the table's texels."""

    light_sh: Float[Tensor, "9 3"]
    """In the axes that the turns lead from."""
    albedo: Float[Tensor, "texels 3"]
    """Linear."""
    losses: dict[str, float]
    """The terms at the end, unweighted, and `start`, the photometric term under uniform light."""


def light_turns(rest_m: Float[Tensor, "vertices 3"], seen_m: list[Tensor], turning: bool) -> Float[Tensor, "views 9 9"]:
    """What carries the light's coefficients into head axes for each view: from the axes of the camera where the light
    turns about the head (the cameras of all views then stand still in the room), else the identity.

    Args:
        rest_m: the head at rest, in head axes.
        seen_m: its vertices before each view's camera.
        turning: whether the light turns about the head.
    """
    unit = torch.eye(9, dtype=rest_m.dtype, device=rest_m.device)
    if not turning:
        return unit.expand(len(seen_m), 9, 9)
    thirds = torch.stack(unit.split(3, dim=1))
    return torch.stack([torch.cat(list(turned(thirds, _rotation(seen, rest_m)[None])), dim=1) for seen in seen_m])


def _rotation(source: Tensor, target: Tensor) -> Tensor:
    """The rotation that takes one set of points to another best (Kabsch 1976)."""
    rotation: Any = roma.rigid_points_registration(source.double(), target.double())[0]
    return rotation.to(source)


def delight(table: TexelTable, turns: Float[Tensor, "views 9 9"], config: DelightConfig) -> Delit:
    """Light and albedo that explain the table; deterministic.

    Args:
        table: colours, weights and harmonics of the texels.
        turns: from `light_turns`.
        config: steps and weights.
    """
    with torch.enable_grad():
        return _Problem(table, turns, config).solved()


_LEAST_WEIGHT, _LEAST_TEXELS = 0.02, 50


class _Problem:
    """The objective and its variables."""

    def __init__(self, table: TexelTable, turns: Tensor, config: DelightConfig) -> None:
        self.table, self.turns, self.config = table, turns, config
        self.share = table.weights / table.weights.sum().clamp_min(1e-8)
        self.texel_share = self.share.sum(0)
        self.light = torch.zeros(9, 3).to(table.colours)
        self.light[0] = 1.0 / Y00
        self.flat = self._group_colours(self.light)
        self.albedo = self.flat.clone()

    def solved(self) -> Delit:
        start = float(self.terms(self.albedo, self.light)["photometric"])
        light = self.light.requires_grad_()
        self._descend([{"params": [light]}], self.config.light_steps, light)
        with torch.no_grad():
            self.flat = self._group_colours(light)
        albedo = self.albedo.copy_(self.flat).requires_grad_()
        rate = self.config.learning_rate
        groups = [{"params": [light]}, {"params": [albedo], "lr": rate / 3}]
        self._descend(groups, self.config.joint_steps, light, albedo)
        with torch.no_grad():
            losses = {name: float(value) for name, value in self.terms(albedo, light).items()}
            mean = self._mean_light(light)
            return Delit((light / mean).detach(), (albedo * mean).detach(), {"start": start, **losses})

    def terms(self, albedo: Tensor, light: Tensor) -> dict[str, Tensor]:
        """The unweighted terms of the loss."""
        irradiance = self._irradiance(light)
        lit = albedo * irradiance
        out = ((irradiance - 1.0).relu() + (-irradiance).relu() + _outside(lit)) * self.share[..., None]
        return {
            "photometric": ((lit - self.table.colours).abs() * self.share[..., None]).sum(),
            "clipping": out.sum() + (_outside(albedo) * self.texel_share[:, None]).sum(),
            "flatness": ((albedo - self.flat).abs() * self.texel_share[:, None]).sum(),
        }

    def _descend(self, groups: list[dict], steps: int, light: Tensor, albedo: Tensor | None = None) -> None:
        if steps == 0:
            return
        optimiser = torch.optim.Adam(groups, lr=self.config.learning_rate)
        schedule = torch.optim.lr_scheduler.ExponentialLR(optimiser, 0.1 ** (1.0 / steps))
        for _ in range(steps):
            optimiser.zero_grad()
            terms = self.terms(self.flat if albedo is None else albedo, light)
            loss = terms["photometric"] + self.config.clipping * terms["clipping"]
            (loss + self.config.flatness * terms["flatness"]).backward()
            optimiser.step()
            schedule.step()

    def _irradiance(self, light: Tensor) -> Tensor:
        return torch.einsum("th,vhk,kc->vtc", self.table.harmonics, self.turns, light)

    def _mean_light(self, light: Tensor) -> Tensor:
        return (self._irradiance(light) * self.share[..., None]).sum((0, 1)).clamp_min(LEAST_LIGHT)

    def _group_colours(self, light: Tensor) -> Tensor:
        """The median colour of each texel's group under a light."""
        colours = self.table.colours / self._irradiance(light).clamp_min(LEAST_LIGHT)
        flat = torch.zeros_like(colours[0])
        for group in self.table.group.unique():
            inside = self.table.group == group
            flat[inside] = _weighted_median(colours[:, inside].flatten(0, 1), self.share[:, inside].flatten())
        return flat


def _outside(values: Tensor) -> Tensor:
    return (values - 1.0).relu() + (-values).relu()


def _weighted_median(values: Float[Tensor, "samples channels"], weights: Float[Tensor, " samples"]) -> Tensor:
    order = values.argsort(dim=0, stable=True)
    reached = weights[order].cumsum(0)
    place = (reached < 0.5 * reached[-1:]).sum(0).clamp_max(len(values) - 1)
    return values.gather(0, order).gather(0, place[None])[0]


def group_map(
    regions: Mapping[str, Bool[Tensor, " vertices"]],
    corners: Int[Tensor, "triangles 3"],
    triangle_of_texel: Int[Tensor, "size size"],
    groups: tuple[tuple[str, ...], ...],
) -> Int[Tensor, "size size"]:
    """The group of each texel: the last one with a region that holds its whole triangle, -1 where there is none."""
    of_triangle = torch.full((len(corners),), -1, dtype=torch.long, device=corners.device)
    for index, names in enumerate(groups):
        for name in names:
            if name in regions:
                of_triangle[regions[name][corners.long()].all(dim=1)] = index
    return torch.where(triangle_of_texel >= 0, of_triangle[triangle_of_texel.clamp_min(0).long()], -1)
