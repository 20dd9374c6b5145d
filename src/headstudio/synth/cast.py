"""Four named actors with hair that has a volume, on whom reconstructions of the whole head are measured.

Two women and two men of different origin; a bun, long hair, short hair, none. Who they are is fixed: seeds chosen by
looking at faces, looks written down. They are filmed in two takes that show nothing alike twice: one to learn from, in
which both sides of the head are seen, and one to be judged by.
"""

from dataclasses import dataclass, replace
from types import MappingProxyType

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from headstudio.heads.base import HeadModel
from headstudio.synth.config import SynthConfig
from headstudio.synth.performance import Performance
from headstudio.synth.person import Looks
from headstudio.synth.rigid import RigidMesh
from headstudio.synth.shell import grow_shell
from headstudio.synth.stage import Stage
from headstudio.synth.torso import AROUND, dress

TRAINING_FRAMES, VALIDATION_FRAMES = 200, 210
"""As Grassal et al. 2022, section 4.1."""
_FPS = 12.5
"""Half of a camera's rate: as much performance in as few frames."""
_BREAK_S = 1.0
"""Between the takes, so that nothing is smoothed across."""
_TURN = (1.9, 1.4)
"""How much further than usual the head turns in the takes: to 57 and 42 degrees."""
_VALIDATION_SEED = 5000
_COLLAR_M, _COLLAR_DIP_M = 0.06, 0.016
"""Height of the collar below the chin, and by how much it is lower in front."""


@dataclass(frozen=True)
class CastMember:
    """One actor."""

    name: str
    seed: int
    hair: str
    """A style of `headstudio.synth.shell`, or bald."""
    looks: Looks


def _member(name: str, seed: int, hair: str, **looks: object) -> CastMember:
    # To the painter all are bald: their hair is a volume of its own, and nothing is painted where others' scalps begin.
    usual = {"blood": 1.0, "brow_thickness": 1.0, "brow_arch": 0.07, "stubble": 0.0, "freckles": 0.0}
    return CastMember(name, seed, hair, Looks(**{**usual, **looks, "hair_style": "bald"}))  # type: ignore[arg-type]


CAST = MappingProxyType(
    {
        member.name: member
        for member in (
            _member(
                "female-1", 625, "bun", melanin=0.22, lip_rgb=(0.62, 0.29, 0.3), iris_rgb=(0.22, 0.13, 0.08),
                hair_rgb=(0.13, 0.1, 0.09), shirt_rgb=(0.5, 0.22, 0.2), brow_thickness=0.85,
            ),
            _member(
                "female-2", 616, "long", melanin=0.72, lip_rgb=(0.46, 0.22, 0.23), iris_rgb=(0.2, 0.12, 0.07),
                hair_rgb=(0.2, 0.13, 0.1), shirt_rgb=(0.75, 0.73, 0.68), brow_thickness=0.85, brow_arch=0.09,
            ),
            _member(
                "male-1", 608, "short", melanin=0.45, lip_rgb=(0.55, 0.27, 0.27), iris_rgb=(0.26, 0.16, 0.09),
                hair_rgb=(0.16, 0.12, 0.1), shirt_rgb=(0.24, 0.36, 0.28), brow_thickness=1.2, stubble=0.45,
            ),
            _member(
                "male-2", 613, "bald", melanin=0.06, lip_rgb=(0.62, 0.33, 0.32), iris_rgb=(0.34, 0.42, 0.5),
                hair_rgb=(0.42, 0.3, 0.2), shirt_rgb=(0.2, 0.3, 0.42), brow_thickness=1.1, stubble=0.8, freckles=0.4,
                brow_arch=0.05,
            ),
        )
    }
)  # fmt: skip
"""The four actors by name."""


def cast_config(member: CastMember, head: str, size_px: int = 512) -> SynthConfig:
    """How a member of the cast is filmed: no lens distortion, since cameras are given; noise as usual.

    Args:
        head: the head model that the actor is made from.
    """
    return SynthConfig(
        seed=member.seed, head=head, seconds=(TRAINING_FRAMES + VALIDATION_FRAMES) / _FPS, fps=_FPS, width_px=size_px,
        height_px=size_px, head_share=0.6, strands=16, audio=False,
    )  # fmt: skip


def two_takes(
    seed: int, training_frames: int = TRAINING_FRAMES, validation_frames: int = VALIDATION_FRAMES
) -> Performance:
    """The performance to learn from and then the one to be judged by."""
    first = _take(seed, training_frames, _TURN[0])
    second = _take(seed + _VALIDATION_SEED, validation_frames, _TURN[1])
    later_s = float(first.times_s[-1]) + _BREAK_S
    return Performance(
        times_s=torch.cat([first.times_s, second.times_s + later_s]),
        arkit=torch.cat([first.arkit, second.arkit]),
        turn_rad=torch.cat([first.turn_rad, second.turn_rad]),
        shift_m=torch.cat([first.shift_m, second.shift_m]),
        blinks_s=(*first.blinks_s, *(time + later_s for time in second.blinks_s)),
        closures_s=(*first.closures_s, *(time + later_s for time in second.closures_s)),
    )


def cast_stage(
    member: CastMember,
    config: SynthConfig,
    head: HeadModel,
    frames: tuple[int, int] = (TRAINING_FRAMES, VALIDATION_FRAMES),
    cell_m: float = 0.003,
) -> Stage:
    """The stage of one of the cast.

    Args:
        config: of `cast_config`, or smaller.
        head: the loaded model that `config.head` names.
        frames: of the two takes.
        cell_m: how finely the hair's surface is made.
    """
    usual = Stage.build(config, head)
    collar_y = usual.anatomy.chin_y_m - _COLLAR_M
    shirt = dress(head, usual.neutral_m, member.seed, collar_y)
    stage = replace(
        usual,
        person=replace(usual.person, looks=member.looks),
        hair=grow_shell(head, usual.neutral_m, usual.anatomy, member.hair, member.seed, cell_m),
        shirt=shirt,
        undrawn=_under_shirt(head, usual.neutral_m, shirt, collar_y),
    )
    return stage.performing(two_takes(member.seed, *frames))


def _take(seed: int, frames: int, turn: float) -> Performance:
    take = Performance.sample(seed, frames / _FPS, _FPS)
    return replace(take, turn_rad=take.turn_rad * torch.tensor([1.0, turn, 1.0], dtype=torch.float64))


def _under_shirt(
    head: HeadModel, neutral_m: Float[Tensor, "vertices 3"], shirt: RigidMesh, collar_y_m: float
) -> Bool[Tensor, " triangles"]:
    """What lies below the collar, or about as high and further out: a shirt is no wider than its loft."""
    collar = shirt.points_m[:AROUND]
    low, high = collar.amin(0), collar.amax(0)
    reach = ((2 * neutral_m - low - high) / (high - low))[:, [0, 2]].norm(dim=1)
    covered = (neutral_m[:, 1] < collar_y_m - _COLLAR_DIP_M) | (
        (neutral_m[:, 1] < collar_y_m + _COLLAR_DIP_M) & (reach > 1.0)
    )
    return covered[head.triangles].all(1)
