"""PatchMatch (Barnes et al. 2009) between texels of one atlas, all targets at once, across the borders of charts."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import max_pool2d

from headstudio.errors import HeadstudioError
from headstudio.texture.charts import ChartLinks

_STEPS = ((0, 1), (0, -1), (1, 0), (-1, 0))


@dataclass(frozen=True)
class Canvas:
    """A picture in the atlas, and which texels are to be made from which."""

    picture: Float[Tensor, "channels size size"]
    target: Bool[Tensor, "size size"]
    source: Bool[Tensor, "size size"]
    guide: Float[Tensor, "guides size size"]
    """Squared differences of it are added to those of the patches."""
    links: ChartLinks


@dataclass(frozen=True)
class Field:
    """For each target texel the source texel that it is copied from; places are row * size + column."""

    places: Int[Tensor, " targets"]
    sources: Int[Tensor, " targets"]
    size: int

    def table(self) -> Int[Tensor, "cells"]:
        """Source by place, -1 where there is no target."""
        found = torch.full((self.size * self.size,), -1, dtype=torch.long, device=self.places.device)
        found[self.places] = self.sources
        return found


class Matcher:
    """One level of the pyramid."""

    def __init__(self, canvas: Canvas, patch_px: int, generator: torch.Generator) -> None:
        self.canvas, self.generator = canvas, generator
        self.size = canvas.target.shape[0]
        reach = torch.arange(patch_px, device=canvas.target.device) - patch_px // 2
        self.offsets = torch.cartesian_prod(reach, reach)
        self.flat = self.offsets[:, 0] * self.size + self.offsets[:, 1]
        self.targets = canvas.target.flatten().nonzero()[:, 0]
        self.usable = _whole_patches(canvas.source, patch_px)
        self.pool = self.usable.flatten().nonzero()[:, 0]
        if not len(self.pool):
            raise HeadstudioError(
                "no patch of texture is seen well enough to copy from", next_step="film more of the face"
            )
        self.around = canvas.links.neighbours(self.targets, self.offsets)
        self.slot = torch.full((self.size**2,), -1, dtype=torch.long, device=self.targets.device)
        self.slot[self.targets] = torch.arange(len(self.targets), device=self.targets.device)
        self.picture = canvas.picture.flatten(1).T.clone()
        self.guide = canvas.guide.flatten(1).T

    def start(self, coarser: Field | None) -> Tensor:
        """Sources to begin with: those of the coarser level, else any."""
        drawn = self._drawn()
        if coarser is None:
            return drawn
        row, column = self.targets // self.size, self.targets % self.size
        found = coarser.table()[(row // 2) * coarser.size + column // 2]
        finer = (2 * (found // coarser.size) + row % 2) * self.size + 2 * (found % coarser.size) + column % 2
        finer = finer.clamp(0, self.size**2 - 1)
        return torch.where((found >= 0) & self._is_usable(finer), finer, drawn)

    def run(self, sources: Tensor, passes: int, searches: int) -> Field:
        """Match and vote in turn."""
        if len(self.targets):
            self._copy(sources)
            for _ in range(passes):
                cost = self.cost(sources)
                for _ in range(searches):
                    sources, cost = self._propagate(sources, cost)
                    sources, cost = self._search(sources, cost)
                self._vote(sources)
        return Field(self.targets, sources, self.size)

    def cost(self, sources: Int[Tensor, " targets"]) -> Float[Tensor, " targets"]:
        """Mean squared difference between the patches about the targets and those about the sources, and the guide."""
        there = self.around >= 0
        ours = self.picture[self.around.clamp_min(0)]
        theirs = self.picture[sources[:, None] + self.flat]
        difference = (ours - theirs).square().sum(2)
        patches = (difference * there).sum(1) / there.sum(1).clamp_min(1)
        return patches + (self.guide[self.targets] - self.guide[sources]).square().sum(1)

    def _propagate(self, sources: Tensor, cost: Tensor) -> tuple[Tensor, Tensor]:
        for row, column in _STEPS:
            offset = row * self.size + column
            index = int((self.flat == offset).nonzero()[0, 0])
            slot = self.slot[self.around[:, index].clamp_min(0)]
            known = (self.around[:, index] >= 0) & (slot >= 0)
            sources, cost = self._better(sources, cost, sources[slot.clamp_min(0)] - offset, known)
        return sources, cost

    def _search(self, sources: Tensor, cost: Tensor) -> tuple[Tensor, Tensor]:
        sources, cost = self._better(sources, cost, self._drawn(), torch.ones_like(sources, dtype=torch.bool))
        reach = self.size // 8
        while reach >= 1:
            jump = torch.randint(-reach, reach + 1, (len(sources), 2), generator=self.generator).to(sources.device)
            row, column = sources // self.size + jump[:, 0], sources % self.size + jump[:, 1]
            inside = (row >= 0) & (row < self.size) & (column >= 0) & (column < self.size)
            sources, cost = self._better(sources, cost, row * self.size + column, inside)
            reach //= 4
        return sources, cost

    def _better(self, sources: Tensor, cost: Tensor, offered: Tensor, allowed: Tensor) -> tuple[Tensor, Tensor]:
        offered = offered.clamp(0, self.size**2 - 1)
        offered = torch.where(allowed & self._is_usable(offered), offered, sources)
        price = self.cost(offered)
        better = price < cost
        return torch.where(better, offered, sources), torch.where(better, price, cost)

    def _vote(self, sources: Tensor) -> None:
        """Each target becomes the mean of what the patches about it would put there."""
        total, count = torch.zeros_like(self.picture[self.targets]), torch.zeros(len(sources), 1).to(self.picture)
        for index, offset in enumerate(self.flat.tolist()):
            around = self.around[:, index]
            # Beyond a seam the axes may be turned, so only patches of the same chart vote; matching crosses seams.
            straight = (around == self.targets + offset) & (self.slot[around.clamp_min(0)] >= 0)
            source = sources[self.slot[around.clamp_min(0)].clamp_min(0)]
            total += self.picture[source - offset] * straight[:, None]
            count += straight[:, None]
        self.picture[self.targets] = torch.where(count > 0, total / count.clamp_min(1), self.picture[sources])

    def _copy(self, sources: Tensor) -> None:
        self.picture[self.targets] = self.picture[sources]

    def _drawn(self) -> Tensor:
        drawn = torch.randint(0, len(self.pool), (len(self.targets),), generator=self.generator)
        return self.pool[drawn.to(self.pool.device)]

    def _is_usable(self, places: Tensor) -> Tensor:
        return self.usable.flatten()[places]


def _whole_patches(source: Tensor, patch_px: int) -> Tensor:
    """Texels about which a whole patch is source, none of it beyond the atlas."""
    outside = torch.nn.functional.pad((~source).float()[None, None], [patch_px // 2] * 4, value=1.0)
    return max_pool2d(outside, patch_px, stride=1)[0, 0] == 0
