"""Pictures and points without the lens's radial distortion."""

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

_LEAST_SHIFT_PX = 0.1
"""A picture whose pixels all move less than this is left as it is: resampling would cost more than it mends."""


def straightened(
    images: list[UInt8[np.ndarray, "height width 3"]],
    mattes: list[UInt8[np.ndarray, "height width"]],
    valid: Bool[np.ndarray, "height width"],
    K_px: Float[Tensor, "3 3"],
    distortion: float,
) -> tuple[UInt8[Tensor, "views 3 height width"], UInt8[Tensor, "views height width"], Bool[Tensor, "height width"]]:
    """The pictures as a pinhole camera with the same intrinsics would have taken them.

    Args:
        distortion: k1 of Brown 1966: normalised radius r becomes r (1 + k1 r^2).
    """
    height, width = valid.shape
    if _largest_shift_px(K_px, distortion, width, height) >= _LEAST_SHIFT_PX:
        K, bent = K_px.numpy().astype(np.float64), np.array([distortion, 0.0, 0.0, 0.0])
        x, y = cv2.initUndistortRectifyMap(
            _corner_centred(K), bent, None, _corner_centred(K), (width, height), cv2.CV_32FC1
        )
        images = [cv2.remap(i, x, y, cv2.INTER_LANCZOS4, borderMode=cv2.BORDER_REPLICATE) for i in images]
        mattes = [cv2.remap(m, x, y, cv2.INTER_LINEAR, borderValue=0) for m in mattes]
        valid = cv2.remap(valid.astype(np.uint8) * 255, x, y, cv2.INTER_LINEAR, borderValue=0) == 255
    pictures = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()
    return pictures, torch.from_numpy(np.stack(mattes)), torch.from_numpy(np.ascontiguousarray(valid))


def straightened_points(
    landmarks_px: Float[Tensor, "views 478 3"], K_px: Float[Tensor, "3 3"], distortion: float
) -> Float[Tensor, "views 478 3"]:
    """Landmarks (their third coordinate is left alone) as they lie in the straightened pictures."""
    if distortion == 0.0:
        return landmarks_px
    focal, middle = K_px[[0, 1], [0, 1]], K_px[:2, 2]
    bent = (landmarks_px[..., :2].double() - middle) / focal
    straight = bent
    # The inverse of the polynomial has no closed form; with the weak distortion of a lens this converges fast.
    for _ in range(10):
        straight = bent / (1.0 + distortion * straight.square().sum(-1, keepdim=True))
    return torch.cat([(straight * focal + middle).to(landmarks_px), landmarks_px[..., 2:]], dim=-1)


def _largest_shift_px(K_px: Tensor, distortion: float, width: int, height: int) -> float:
    corners = torch.tensor([[0.0, 0.0], [width, 0.0], [0.0, height], [width, height]], dtype=torch.float64)
    radius = ((corners - K_px[:2, 2]) / K_px[[0, 1], [0, 1]]).norm(dim=-1)
    return float((distortion * radius**3).abs().max() * K_px[0, 0])


def _corner_centred(K: np.ndarray) -> np.ndarray:
    """OpenCV counts pixel centres from 0, we from 0.5."""
    moved = K.copy()
    moved[:2, 2] -= 0.5
    return moved
