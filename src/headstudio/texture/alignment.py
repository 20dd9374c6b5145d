"""Pictures laid on a texture that is known already: optical flow takes out what a tracked head is off by.

The texture is drawn on the head before the picture's camera, the flow from that drawing to the picture is found, made
smooth, and undone. What is smaller than the smoothing stays in the picture: a lip that a mesh misses is no error of
alignment but what a texture of its own is there to show.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from headstudio.render.composite import over
from headstudio.render.mesh import MeshTopology, render_surface
from headstudio.texture.unproject import Observation


@dataclass(frozen=True)
class AlignmentConfig:
    """How pictures are laid on a known texture."""

    smoothing: float = 0.03
    """Radius of the Gaussian that the flow is averaged over, as a share of the picture's side."""
    most: float = 0.02
    """Longest displacement that is undone, as a share of the picture's side; longer ones are shortened to it."""
    consistent_px: float = 1.0
    """Flow to the picture and back that ends this far from where it began counts by 1/e."""
    side_px: int = 256
    """Side of the picture that the flow is looked for in: it is smooth, so more costs time and tells little."""


def aligned(
    observation: Observation, texture: Float[Tensor, "3 rows columns"], mesh: MeshTopology, config: AlignmentConfig
) -> Observation:
    """The observation with its picture and trust moved to where the drawn texture says they should be.

    Args:
        observation: one picture and the head before its camera.
        texture: sRGB in [0, 1], in the atlas of the mesh.
        mesh: the head's topology.
        config: how far and how smoothly.
    """
    stored = torch.cat([observation.image, observation.trust])[None]
    side_px = min(config.side_px, *stored.shape[2:])
    small = F.interpolate(stored, (side_px, side_px), mode="area")
    camera = observation.camera.resized(side_px, side_px)
    drawn = render_surface(observation.vertices_camera_m[None], mesh, camera, texture[None])
    assert drawn.image is not None  # a texture was given
    sure = drawn.mask * small[:, 3:]
    # Beyond the head both pictures are the same, so nothing there pulls at the border.
    wanted = over(drawn.image, sure, small[:, :3])
    found_px = smooth_flow(wanted[0], small[0, :3], sure[0], config)[None]
    longest_px = config.most * side_px
    kept_px = found_px * (longest_px / found_px.norm(dim=1, keepdim=True).clamp_min(1e-6)).clamp_max(1.0)
    large = F.interpolate(kept_px, stored.shape[2:], mode="bilinear", align_corners=False)
    scale = large.new_tensor([stored.shape[3], stored.shape[2]]) / side_px
    moved = fetched(stored, large * scale[:, None, None])
    return replace(observation, image=moved[0, :3], trust=moved[0, 3:])


def smooth_flow(
    first: Float[Tensor, "3 height width"],
    second: Float[Tensor, "3 height width"],
    sure: Float[Tensor, "1 height width"],
    config: AlignmentConfig,
) -> Float[Tensor, "2 height width"]:
    """Where the pixels of one picture lie in another, x and y displacements in pixels, smoothly continued.

    Args:
        first: sRGB in [0, 1].
        second: sRGB in [0, 1].
        sure: 1 where the pixels of the first mean something.
        config: its smoothing and how far forth and back may differ.
    """
    there, back = dense_flow(first, second), dense_flow(second, first)
    astray = (there + fetched(back[None], there[None])[0]).norm(dim=0, keepdim=True)
    weight = sure * torch.exp(-astray / config.consistent_px)
    radius_px = config.smoothing * first.shape[-1]
    blurred = _blurred(torch.cat([there * weight, weight]), radius_px)
    return blurred[:2] / blurred[2:].clamp_min(_LEAST_SURE)


_LEAST_SURE = 0.02
"""Share of sure pixels about a place below which its displacement fades to nothing."""


def dense_flow(
    first: Float[Tensor, "3 height width"], second: Float[Tensor, "3 height width"]
) -> Float[Tensor, "2 height width"]:
    """Displacement in pixels of every pixel of the first picture (dense inverse search, Kroeger et al. 2016)."""
    import cv2  # slow to import

    def grey(picture: Tensor) -> np.ndarray:
        return (picture.mean(0) * 255).round().clamp(0, 255).to(torch.uint8).cpu().numpy()

    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    found = search.calc(grey(first), grey(second), None)  # type: ignore[call-overload]
    return torch.from_numpy(found).permute(2, 0, 1).to(first)


def fetched(
    pictures: Float[Tensor, "batch channels height width"], displacement_px: Float[Tensor, "batch 2 height width"]
) -> Float[Tensor, "batch channels height width"]:
    """What lies, at each pixel, that far to the right and below; the border continues."""
    height, width = pictures.shape[2:]
    rows, columns = torch.meshgrid(
        torch.arange(height, dtype=pictures.dtype, device=pictures.device),
        torch.arange(width, dtype=pictures.dtype, device=pictures.device),
        indexing="ij",
    )
    places = torch.stack([columns, rows]) + displacement_px + 0.5
    size = places.new_tensor([width, height])[:, None, None]
    grid = (places / size * 2 - 1).permute(0, 2, 3, 1)
    return F.grid_sample(pictures, grid, mode="bilinear", padding_mode="border", align_corners=False)


def _blurred(maps: Float[Tensor, "channels height width"], radius_px: float) -> Tensor:
    """A Gaussian in both directions, beyond the border nothing."""
    reach = max(int(3 * radius_px), 1)
    along = torch.arange(-reach, reach + 1, dtype=maps.dtype, device=maps.device)
    kernel = torch.exp(-0.5 * (along / max(radius_px, 1e-3)) ** 2)
    kernel = kernel / kernel.sum()
    rows = F.conv2d(maps[:, None], kernel[None, None, :, None], padding=(reach, 0))
    return F.conv2d(rows, kernel[None, None, None, :], padding=(0, reach))[:, 0]
