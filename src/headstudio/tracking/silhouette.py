"""Nothing of the head may stick out of the person: a one-sided silhouette.

Hair hides how large the skull is, but never makes the person smaller than the head: points of the head that project
outside the matte are pulled back to its edge, and those inside are left alone.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from scipy.ndimage import distance_transform_edt
from torch import Tensor
from torch.nn.functional import interpolate

from headstudio.records.capture import Annotation, Capture
from headstudio.tracking.pull import Pull
from headstudio.tracking.scene import Outlook, Scenery
from headstudio.tracking.solver import huber
from headstudio.tracking.surface import sample, slopes

_SIZE_PX = 128
"""Side of the mattes: their edges are no sharper."""


@dataclass(frozen=True)
class Outside:
    """How far every pixel of some frames is from the person, and which way is out."""

    layers: Float[Tensor, "frames 3 height width"]
    """Distance in pixels of the stored frame, then its slopes along x and along y."""
    seen: Bool[Tensor, " frames"]
    scale: float
    """Pixels of the layers in a pixel of the stored frame."""
    noise_px: Float[Tensor, " frames"]
    weight: float
    robust: float

    def pull(self, pixels: Float[Tensor, "chosen points 2"], frames: Int[Tensor, " chosen"]) -> Pull:
        """How the person's edge pulls on these pixels of the stored frame."""
        found = sample(self.layers[frames], pixels * self.scale)
        distance, slope = found[..., 0], found[..., 1:] * self.scale
        noise = self.noise_px[frames, None]
        cost, bend = huber(distance / noise, self.robust)
        share = self.weight * self.seen[frames, None]
        weight = (bend * share / noise**2)[..., None]
        metric = weight[..., None] * slope[..., :, None] * slope[..., None, :]
        return Pull(metric, -weight * distance[..., None] * slope, (cost * share).sum(1))


def outside(
    capture: Capture, scene: Scenery, frames: Int[Tensor, " frames"], outlook: Outlook | None = None
) -> Outside | None:
    """What lies outside the person in some frames; None where the capture has no mattes.

    Args:
        outlook: the view; the first when not given.
    """
    config, (first, *_) = scene.config.photometric, scene.outlooks()
    view, observed = (outlook or first).view, (outlook or first).observed
    if Annotation.MATTE not in capture.annotations or config.silhouette == 0:
        return None
    away_px = torch.stack([distance_px(capture.matte(int(frame), view), capture.size_px) for frame in frames])[:, None]
    return Outside(
        layers=torch.cat([away_px, slopes(away_px)], dim=1),
        seen=observed.seen[frames],
        scale=_SIZE_PX / capture.size_px,
        noise_px=observed.noise_px[frames] * (config.silhouette_noise_m / scene.config.solve.noise_m),
        weight=config.silhouette,
        robust=observed.robust,
    )


def distance_px(matte: UInt8[Tensor, "1 height width"], size_px: int) -> Float[Tensor, "size size"]:
    """How far every pixel is from the person, in pixels of a stored frame with sides of `size_px`; 0 without a person.

    Args:
        matte: 255 where the person is.
    """
    small = interpolate(matte[None].float(), (_SIZE_PX, _SIZE_PX), mode="area")[0, 0]
    empty = (small < 127.5).numpy()
    if empty.all():
        return torch.zeros(_SIZE_PX, _SIZE_PX)
    # A person who is cut by the frame's border goes on behind it, and so does the head.
    found = np.asarray(distance_transform_edt(np.pad(empty, _SIZE_PX // 8, mode="edge")))
    inner = found[_SIZE_PX // 8 : -(_SIZE_PX // 8), _SIZE_PX // 8 : -(_SIZE_PX // 8)]
    return torch.from_numpy(inner).float() * (size_px / _SIZE_PX)
