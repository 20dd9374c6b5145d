"""Who is scored: the avatar, the weaker avatars it names, and what anybody could have shown without training."""

from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from headstudio.errors import HeadstudioError
from headstudio.evaluation.baselines import NearestFrame, TrackedHead
from headstudio.evaluation.tracked_mesh import TrackedMesh
from headstudio.evaluation.truth import Truth
from headstudio.records.channels import FACE_CROP, Scene, to_device
from headstudio.records.motion import Motion
from headstudio.training.contract import AvatarModel, Source


@runtime_checkable
class Competitor(Protocol):
    """Shows held-out frames over the common background."""

    def show(self, frames: Int[Tensor, " batch"]) -> Float[Tensor, "batch 3 height width"]:
        """sRGB in [0, 1]."""
        ...


class DrivenAvatar:
    """An avatar driven by a motion, before the cameras of the track."""

    def __init__(self, avatar: AvatarModel, truth: Truth, mesh: TrackedMesh, motion: Motion) -> None:
        _check_driven(avatar, motion)
        self._avatar = avatar.eval()
        self._device = next((t.device for t in (*avatar.parameters(), *avatar.buffers())), torch.device("cpu"))
        self._truth, self._mesh, self._motion = truth, mesh, motion

    @torch.no_grad()
    def show(self, frames: Int[Tensor, " batch"]) -> Float[Tensor, "batch 3 height width"]:
        """The avatar's rendering."""
        size_px = self._truth.size_px
        background = self._truth.background.expand(len(frames), 3, size_px, size_px)
        scene = Scene(background=background)  # in the avatar's own light: it was trained in that of this clip
        channels = to_device(self._motion.at(frames), self._device)
        view = self._mesh.view(frames, size_px).to(self._device)
        return self._avatar.render(channels, view, scene.to(self._device)).rgb.float().clamp(0, 1).cpu()


def own_signals(avatar: AvatarModel, source: Source) -> tuple[Motion, str]:
    """What a performance itself can drive an avatar with, and what that is: tracked, or encoded from the pictures."""
    return source.motion_with(avatar.consumes), "encoded" if FACE_CROP in avatar.consumes else "tracked"


def competitors(
    name: str, avatar: AvatarModel, source: Source, truth: Truth, mesh: TrackedMesh, motion: Motion
) -> dict[str, Competitor]:
    """Everybody who is scored, by name, the avatar first."""
    avatars = {name: avatar, **avatar.baselines()}
    found: dict[str, Competitor] = {key: DrivenAvatar(model, truth, mesh, motion) for key, model in avatars.items()}
    found["nearest frame"] = NearestFrame(source, truth, mesh, aligned=False)
    found["nearest frame, aligned"] = NearestFrame(source, truth, mesh, aligned=True)
    if source.track.texture is not None:
        found["tracked head"] = TrackedHead(truth, mesh, source.track.texture)
    return found


def _check_driven(avatar: AvatarModel, motion: Motion) -> None:
    lacking = [wanted - motion.channels.keys() for wanted in avatar.driven_by]
    if lacking and all(lacking):
        names = ", ".join(sorted(map(str, min(lacking, key=len))))
        raise HeadstudioError(
            f"the avatar cannot be driven: {names} is missing", next_step="evaluate with a signal that has it"
        )
