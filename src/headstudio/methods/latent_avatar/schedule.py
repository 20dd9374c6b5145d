"""Who learns what from which losses, in two stages: the head with its encoder, then the transfer of tracked signals."""

from collections.abc import Mapping

from headstudio.methods.latent_avatar.config import LatentAvatarConfig
from headstudio.training.stages import Optimiser, Player, Ramp, Sampler, Stage

CODES = ("encoder.*",)
TRACKED = ("from_tracked.*",)
PLANES = ("head.generator.*", "head.own_planes", "head.mixture.*", "head.mixed_planes")
DENSITY = ("head.volume.of_density.*",)
VALUES = ("head.volume.of_values.*",)
LARGE = ("head.super_resolution.*",)

REACHES: Mapping[str, tuple[str, ...]] = {
    "l1": PLANES + DENSITY + VALUES + LARGE,
    "perceptual": PLANES + DENSITY + VALUES + LARGE,
    "low_resolution": PLANES + DENSITY + VALUES,
    "mask": PLANES + DENSITY,
    "fine_mask": PLANES + DENSITY + VALUES + LARGE,
    "code": TRACKED,
}
"""The parameters that each loss reaches beside those the code is made of, as shell patterns; `code` reaches no more."""


def schedule(config: LatentAvatarConfig) -> tuple[Stage, ...]:
    """The stages: eq. 4, and what code tracked signals stand for."""
    learned = CODES if config.code == "encoded" else TRACKED
    losses = {
        "l1": config.l1_weight,
        "perceptual": config.perceptual_weight,
        "low_resolution": config.low_resolution_weight,
        "mask": config.mask_weight,
    }
    if config.has_fine_mask:
        losses["fine_mask"] = config.mask_weight
    player = Player(
        "head",
        learned + PLANES + DENSITY + VALUES + LARGE,
        {name: weight for name, weight in losses.items() if weight > 0},
        Optimiser(learning_rate=config.learning_rate),
        schedule=Ramp.falling(config.steps, config.last_rate),
        ema=config.ema,
    )
    encoded = config.code == "encoded"
    stages = [Stage("head", config.steps, (player,), Sampler(config.batch_size, face_crops=encoded))]
    if encoded and config.transfer_steps:
        transfer = Player("transfer", TRACKED, {"code": 1.0}, Optimiser(learning_rate=1e-3))
        stages.append(Stage("transfer", config.transfer_steps, (transfer,), Sampler(16, images=False, face_crops=True)))
    return tuple(stages)
