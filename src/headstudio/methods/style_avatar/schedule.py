"""Two stages: planes and networks together, then the networks on fixed planes; and who plays in them."""

from collections.abc import Mapping

from headstudio.methods.style_avatar.config import StyleAvatarConfig
from headstudio.training.stages import Every, Optimiser, Player, Ramp, Sampler, Stage

PLANES, PICTURES = "planes", "pictures"

PLANE_NETWORKS = ("portrait.face.*", "portrait.background.*")
PLATES = ("portrait.plates.*",)
FOREGROUND = ("portrait.foreground.*", "portrait.matte.*")
IMAGE = ("portrait.image.*",)
JUDGE = ("judge.*",)

_PAINTING = ("portrait.foreground.*", *IMAGE)

REACHES: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    PLANES: {
        "l1": PLANE_NETWORKS + PLATES + _PAINTING,
        "perceptual": PLANE_NETWORKS + PLATES + _PAINTING,
        "matte": PLANE_NETWORKS + PLATES + FOREGROUND + IMAGE,
        "adversarial": PLANE_NETWORKS + PLATES + _PAINTING,
        "judge": JUDGE,
        "r1": JUDGE,
    },
    PICTURES: {
        "l1": _PAINTING,
        "perceptual": _PAINTING,
        "matte": FOREGROUND + IMAGE,
        "adversarial": _PAINTING,
        "judge": JUDGE,
        "r1": JUDGE,
    },
}
"""The parameters that each loss term may reach, by stage, as shell patterns. The matte that composes features learns
from mattes alone; one that is painted beside the picture goes through all that the picture does."""


def schedule(config: StyleAvatarConfig) -> tuple[Stage, ...]:
    """The stages."""
    sampler = Sampler(config.batch_size, config.sizes.window_cells * config.sizes.picture_px)
    if config.wide_crop:
        sampler = Sampler(config.batch_size, config.sizes.crop_cells * config.sizes.picture_px)
    stages = (
        Stage(PLANES, config.plane_steps, _players(config, PLANES), sampler),
        Stage(PICTURES, config.steps, _players(config, PICTURES), sampler),
    )
    return tuple(stage for stage in stages if stage.steps > 0)


def _players(config: StyleAvatarConfig, stage: str) -> tuple[Player, ...]:
    weights, late = config.weights, stage == PICTURES
    named = {"l1": weights.l1, "perceptual": weights.perceptual, "matte": weights.matte}
    contested = weights.adversarial > 0 and (late or config.early_adversary)
    if contested:
        named["adversarial"] = weights.adversarial
    has_planes = config.design in ("full", "no-neural-texture", "neural-texture-unet")
    generator = Player(
        "generator",
        FOREGROUND + IMAGE if late and has_planes else ("portrait.*",),
        {name: weight for name, weight in named.items() if weight > 0},
        Optimiser("adamw", config.learning_rate, betas=(config.momentum, 0.99), weight_decay=0.01),
        schedule=Ramp(((0, 1.0), (config.steps, config.last_rate)), geometric=True) if late else 1.0,
        clip=config.clip,
        ema=config.average if late else None,
    )
    if not contested:
        return (generator,)
    rate = Optimiser("adamw", config.learning_rate, betas=(0.0, 0.99), weight_decay=0.01)
    lazy = config.weights.r1 / 2 * config.penalty_every
    return (
        generator,
        Player("judge", JUDGE, {"judge": 1.0}, rate),
        Player("penalty", JUDGE, {"r1": lazy}, rate, when=Every(config.penalty_every)),
    )
