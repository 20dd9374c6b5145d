"""Driving offline: a performance is carried over to the avatar's person, adapted to its channels and rendered."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float
from torch import Tensor

from headstudio.errors import HeadstudioError
from headstudio.geometry.camera import Camera
from headstudio.geometry.rigid import from_rotation, rigid
from headstudio.heads import load_head
from headstudio.motion.neutral import find_neutral
from headstudio.motion.ranges import range_warnings
from headstudio.motion.retarget import RetargetConfig, adapt, head_size_ratio, retarget
from headstudio.records.avatar import AtRest
from headstudio.records.channels import (
    ARKIT,
    FACE_CROP,
    HEAD_POSE,
    HEAD_ROTATION,
    Channel,
    Rendering,
    Scene,
    View,
    to_device,
)
from headstudio.records.motion import Motion
from headstudio.records.track import HeadIdentity
from headstudio.training.contract import AvatarModel, Driver, State


@dataclass(frozen=True)
class DriveConfig:
    """How an avatar is driven and looked at."""

    own: bool = False
    """The performance is of the avatar's own person in front of the same camera: use its signals as they are."""
    yaw_deg: float = 0.0
    """Look from aside: positive moves the camera to the picture's right around the head."""
    pitch_deg: float = 0.0
    """Look from above (positive) or below."""
    batch_size: int = 4
    """Frames rendered at once."""
    retarget: RetargetConfig = field(default_factory=RetargetConfig)
    """How strongly the performance is carried over."""


@dataclass(frozen=True)
class Performance:
    """What drives: signals, and whose they are."""

    motion: Motion
    identity: HeadIdentity | None = None
    """None where nobody measured the driver's head, as in an ARKit recording."""


def transferred(
    performance: Performance, avatar: AvatarModel, at_rest: AtRest, config: DriveConfig | None = None
) -> tuple[Motion, list[str]]:
    """A performance around the rest of the avatar's person, and a sentence for everything it was not trained on.

    Args:
        performance: what drives.
        avatar: who is driven.
        at_rest: the avatar's person at rest (`Avatar.at_rest`).
        config: how.
    """
    config = config or DriveConfig()
    motion = _placed(performance.motion, at_rest)
    if not config.own:
        rest = find_neutral(motion).channels
        ratio = 1.0 if performance.identity is None else size_ratio(avatar.identity, performance.identity)
        head = load_head(avatar.identity.head)
        motion = retarget(motion, rest, at_rest.channels, head, config.retarget, ratio)
    return motion, range_warnings(motion, at_rest.covered)


def carried_over(
    performance: Performance,
    avatar: AvatarModel,
    at_rest: AtRest,
    config: DriveConfig | None = None,
    driver: Driver | None = None,
) -> tuple[Motion, list[str]]:
    """`transferred`, in the channels that the avatar accepts; a trained driver adds those that it produces."""
    motion, warnings = transferred(performance, avatar, at_rest, config)
    accepted = avatar.driven_by
    if driver is not None:
        motion = motion.with_channels(predicted(driver, performance.motion))
        accepted = tuple(wanted for wanted in accepted if wanted & driver.produces) or accepted
    return adapt(motion, accepted, load_head(avatar.identity.head)), warnings


@torch.no_grad()
def predicted(driver: Driver, motion: Motion, resting: Sequence[int] | None = None) -> dict[Channel, Tensor]:
    """What a driver makes of a whole performance: the loop of its steps, from rest.

    Args:
        resting: frames among which the actor's rest is looked for; all when not given.
    """
    lacking = sorted(str(channel) for channel in driver.consumes - motion.channels.keys())
    if lacking:
        raise HeadstudioError(
            f"this driver reads {', '.join(lacking)}, which the performance does not have",
            next_step="drive with a video or a capture",
        )
    device = next((p.device for p in driver.parameters()), torch.device("cpu"))
    state, steps = _introduced(driver, motion, resting, device), []
    for frame in range(len(motion)):
        produced, state = driver.step(to_device(motion.at([frame]), device), state)
        steps.append(produced)
    return {channel: torch.cat([step[channel] for step in steps]).cpu() for channel in driver.produces}


def size_ratio(target: HeadIdentity, driver: HeadIdentity) -> float:
    """Size of one person's face over another's; scales the driver's displacements."""
    return head_size_ratio(_face_m(target), _face_m(driver))


def _introduced(driver: Driver, motion: Motion, resting: Sequence[int] | None, device: torch.device) -> State:
    state = driver.start(1)
    expressed = {c: values for c, values in motion.channels.items() if c.space != FACE_CROP.space}
    if not any(channel.name == ARKIT.name for channel in expressed):
        return state
    neutral = find_neutral(Motion(motion.times_s, expressed), resting).frame
    return driver.introduce(to_device(motion.at([neutral]), device), state)


def orbit_view(at_rest: AtRest, size_px: int, yaw_deg: float = 0.0, pitch_deg: float = 0.0) -> View:
    """The camera that filmed the person, moved around their head at rest; one frame, the world's axes are its own."""
    camera = Camera(at_rest.K_px[None], at_rest.size_px, at_rest.size_px).resized(size_px, size_px)
    centre = at_rest.channels[HEAD_POSE][:3, 3].float()
    # Turning the world the other way round about the head is the same as moving the camera.
    turn = rigid(torch.tensor([0.0, math.radians(yaw_deg), 0.0]), torch.zeros(3))
    tilt = rigid(torch.tensor([math.radians(pitch_deg), 0.0, 0.0]), torch.zeros(3))
    rotation = (tilt @ turn)[:3, :3]
    return View(camera, from_rotation(rotation, centre - rotation @ centre)[None])


@torch.no_grad()
def render_frames(
    avatar: AvatarModel,
    motion: Motion,
    view: View,
    background: Float[Tensor, "3 height width"] | None = None,
    batch_size: int = 4,
) -> Iterator[Rendering]:
    """One rendering a frame, on the CPU, seen by a camera that stands still.

    Args:
        avatar: on the device that renders.
        motion: channels that the avatar accepts.
        view: of one frame.
        background: the same behind every frame, sRGB in [0, 1]; black when None.
        batch_size: frames rendered at once.
    """
    device = _device_of(avatar)
    for start in range(0, len(motion), batch_size):
        frames = range(start, min(start + batch_size, len(motion)))
        here = _repeated(view, len(frames)).to(device)
        plate = None if background is None else background.expand(len(frames), -1, -1, -1).to(device)
        rendering = avatar.render(to_device(motion.at(frames), device), here, Scene(background=plate))
        for index in range(len(frames)):
            one = slice(index, index + 1)
            maps = {name: values[one].cpu() for name, values in rendering.maps.items()}
            yield Rendering(rendering.rgb[one].cpu(), rendering.alpha[one].cpu(), maps)


def _repeated(view: View, frames: int) -> View:
    camera = replace(view.camera, K_px=view.camera.K_px.expand(frames, 3, 3))
    return replace(view, camera=camera, T_camera_world=view.T_camera_world.expand(frames, 4, 4))


def _placed(motion: Motion, at_rest: AtRest) -> Motion:
    """Give a motion that says nothing of the head's place the avatar's own."""
    if HEAD_POSE in motion.channels or HEAD_ROTATION in motion.channels:
        return motion
    return motion.with_channels({HEAD_POSE: at_rest.channels[HEAD_POSE].expand(len(motion), 4, 4)})


def _face_m(identity: HeadIdentity) -> Float[Tensor, "vertices 3"]:
    head = load_head(identity.head)
    offsets_m = None if identity.offsets_m is None else identity.offsets_m[None]
    return head.neutral(identity.coefficients[None], offsets_m)[0, head.region("face")]


def _device_of(avatar: AvatarModel) -> torch.device:
    held = next(avatar.parameters(), None)
    return torch.device("cpu") if held is None else held.device
