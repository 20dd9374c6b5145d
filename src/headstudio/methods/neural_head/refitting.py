"""Expression and pose of frames that were not trained, optimised against their own pictures with the avatar fixed.

The paper does so for its validation frames (section 4.3). What drives them then is no longer the tracker's signal, and
rows made with it carry the word `refined` (docs/protocol.md).
"""

import copy
from collections.abc import Sequence
from dataclasses import replace

import torch

from headstudio.methods.neural_head.config import Pace
from headstudio.methods.neural_head.model import NeuralHead
from headstudio.methods.neural_head.residuals import Residuals, corrected, corrected_pose
from headstudio.methods.neural_head.schedule import GAZE, HEAD, step_of_size
from headstudio.motion.articulation import articulation
from headstudio.records.channels import ARKIT, HEAD_POSE, JAW, expression_of
from headstudio.records.channels import GAZE as GAZE_CHANNEL
from headstudio.records.motion import Motion
from headstudio.training.batches import BatchStream
from headstudio.training.contract import Source
from headstudio.training.players import ActivePlayer, free_only
from headstudio.training.stages import Player, Ramp, Stage, at

_NAME = "refitting"


def refitted_motion(
    model: NeuralHead, source: Source, frames: Sequence[int], passes: int = 40, learning_rate: float = 0.1
) -> Motion:
    """The source's motion with expression, jaw, gaze and pose of some frames fitted to their pictures.

    Args:
        model: a trained avatar; it stays as it is.
        source: capture and track of the frames; energies are those of the joint stage whose data it has.
        frames: of the source, usually held out.
        passes: how often each frame is seen.
        learning_rate: in the units of the residuals.
    """
    fitted = copy.copy(model)
    # Only the containers are copied that are changed below; networks and buffers stay shared.
    fitted._modules = dict(model._modules)
    fitted.shape = copy.copy(model.shape)
    fitted.shape._modules = dict(model.shape._modules)
    fitted.shape.residuals = Residuals(model.shape.head, {source.key: list(frames)}, centred=False)
    fitted.shape.residuals.identity = model.shape.residuals.identity
    _fit(fitted, _only(source, frames), len(frames) * passes, learning_rate)
    return _moved(fitted, source, list(frames))


def _only(source: Source, frames: Sequence[int]) -> Source:
    """The source as if these frames were all that may be learned from."""
    usable = torch.zeros_like(source.track.usable)
    usable[list(frames)] = True
    whole = replace(source.capture.split, train_end=source.capture.frames, held_out_start=source.capture.frames)
    return replace(source, capture=replace(source.capture, split=whole), track=replace(source.track, usable=usable))


def _fit(model: NeuralHead, source: Source, steps: int, learning_rate: float) -> None:
    joint = model.stages()[-1]
    weights = {name: weight for player in joint.players for name, weight in player.losses.items()}
    terms = ("landmarks", "lids", "normals", "orientation", "semantics", "hair", "silhouette", "l1", "prior")
    moved = tuple(name for name in HEAD + GAZE if not name.endswith("identity"))
    losses = {name: weights[name] for name in terms if name in weights}
    player = Player(_NAME, moved, losses, step_of_size(learning_rate), Ramp.falling(steps, Pace.last_rate))
    stage = Stage(_NAME, steps, (player,), replace(joint.sampler, batch_size=1))
    frozen = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    active = ActivePlayer(player, model)
    free_only(model, active)
    stream = BatchStream({player.role: (source,)}, stage, 0, 0, model.shape.coefficients.device)
    try:
        for step in range(steps):
            torch.manual_seed(step)
            found = model.losses(stream.batch(player, step), stage, player)
            torch.stack([at(losses[name], step) * value for name, value in found.items()]).sum().backward()
            active.learn(step)
            active.forget_gradients()
    finally:
        stream.close()
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(frozen[name])


@torch.no_grad()
def _moved(model: NeuralHead, source: Source, frames: list[int]) -> Motion:
    motion, index = source.motion, torch.tensor(frames)
    own = motion.at(frames)
    correction = model.shape.residuals.at(source.key, index)
    state = corrected(articulation(model.shape.head, own), correction)
    found = {
        expression_of(model.shape.head.name): state.expression,
        JAW: state.jaw_rad,
        GAZE_CHANNEL: state.gaze_rad,
        HEAD_POSE: corrected_pose(own[HEAD_POSE], correction),
        ARKIT: model.shape.head.to_arkit(state),
    }
    channels = dict(motion.channels)
    for channel, values in found.items():
        if channel in channels:
            channels[channel] = channels[channel].index_copy(0, index, values.to(channels[channel]))
    return replace(motion, channels=channels)
