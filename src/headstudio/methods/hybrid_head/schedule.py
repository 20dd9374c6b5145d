"""Three stages: the autoencoder with its judge, the re-rendering on fixed codes, and what tracked signals stand for."""

from collections.abc import Mapping

from headstudio.methods.hybrid_head.config import HybridHeadConfig
from headstudio.training.stages import Every, Optimiser, Player, Ramp, Sampler, Stage

HEAD, PICTURE, TRANSFER = "head", "picture", "transfer"
ENCODE = "encode every training frame"
"""The event before the re-rendering: from then on each frame is its code."""
AUTOENCODER, JUDGE, REFINER, TRACKED = ("encoder.*", "decoder.*"), ("judge.*",), ("refiner.*",), ("from_tracked.*",)

_TO_TEXTURE = ("encoder.*", "decoder.entry.*", "decoder.texture.*", "decoder.tones.*", "decoder.straight.*")
_TO_WEIGHTS = ("encoder.*", "decoder.geometry.*", "decoder.straight.*")

REACHES: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    HEAD: {
        "texture": _TO_TEXTURE,
        "weights": _TO_WEIGHTS,
        "vertices": _TO_WEIGHTS,
        "tones": ("encoder.*", "decoder.tones.*", "decoder.straight.*"),
        "divergence": ("encoder.*",),
        "adversarial": _TO_TEXTURE,
        "judge": JUDGE,
        "r1": JUDGE,
    },
    PICTURE: {"l1": REFINER, "perceptual": REFINER, "refinement": REFINER},
    TRANSFER: {"code": TRACKED, "vertices": TRACKED},
}
"""The parameters that each loss may reach, by stage, as shell patterns."""


def schedule(config: HybridHeadConfig) -> tuple[Stage, ...]:
    """The stages."""
    weights = config.picture_weights
    terms = {"l1": weights.l1, "perceptual": weights.perceptual}
    if config.corrective:
        terms["refinement"] = weights.refinement
    refiner = Player(
        "refiner",
        REFINER,
        _kept(terms),
        Optimiser(learning_rate=config.picture_rate),
        schedule=Ramp.falling(config.picture_steps, config.last_rate),
    )
    transfer = Player(
        TRANSFER,
        TRACKED,
        _kept({"code": 1.0, "vertices": config.head_weights.vertices}),
        Optimiser(learning_rate=1e-3),
        schedule=Ramp.falling(config.transfer_steps, config.last_rate),
    )
    stages = (
        Stage(HEAD, config.head_steps, _head_players(config), Sampler(config.head_batch, images=False)),
        Stage(
            PICTURE, config.picture_steps, (refiner,), Sampler(config.picture_batch, config.size_px), events={0: ENCODE}
        ),
        Stage(TRANSFER, config.transfer_steps, (transfer,), Sampler(16, images=False)),
    )
    return tuple(stage for stage in stages if stage.steps > 0)


def _head_players(config: HybridHeadConfig) -> tuple[Player, ...]:
    weights, falling = config.head_weights, Ramp.falling(config.head_steps, config.last_rate)
    terms: dict[str, float | Ramp] = _kept(
        {
            "texture": weights.texture,
            "weights": weights.weights,
            "vertices": weights.vertices,
            "divergence": weights.divergence,
            "tones": weights.tones if config.autoencoder.tones else 0.0,
        }
    )
    contested = weights.adversarial > 0
    if contested:
        begin = int(config.adversary_from * config.head_steps)
        terms["adversarial"] = Ramp(((begin, 0.0), (begin + max(config.head_steps // 10, 1), weights.adversarial)))
    autoencoder = Player(
        "autoencoder", AUTOENCODER, terms, Optimiser(learning_rate=config.head_rate), schedule=falling, clip=10.0
    )
    if not contested:
        return (autoencoder,)
    rate = Optimiser(learning_rate=config.judge_rate, betas=(0.5, 0.999))
    players = [autoencoder, Player("judge", JUDGE, {"judge": 1.0}, rate)]
    if weights.r1 > 0:
        lazy = weights.r1 / 2 * config.penalty_every
        players.append(Player("penalty", JUDGE, {"r1": lazy}, rate, when=Every(config.penalty_every)))
    return tuple(players)


def _kept(terms: Mapping[str, float]) -> dict[str, float | Ramp]:
    return {name: weight for name, weight in terms.items() if weight > 0}
