"""ICT-FaceKit's UDIM tiles packed into one unit square."""

import numpy as np

_BOXES = {
    "face": (0.0, 0.0, 0.8, 0.8),
    "head": (0.8, 0.0, 0.2, 0.4),
    "gums": (0.8, 0.4, 0.2, 0.2),
    "teeth": (0.8, 0.6, 0.2, 0.2),
    "eye_left": (0.2, 0.8, 0.2, 0.2),
    "eye_right": (0.0, 0.8, 0.2, 0.2),
    "lashes": (0.4, 0.8, 0.2, 0.2),
}
"""Left, top, width, height."""
_TILES = {
    "Face": ("face", 0), "Head and Neck": ("head", 1), "Mouth socket": ("head", 1), "Eye socket left": ("head", 1),
    "Eye socket right": ("head", 1), "Gums and tongue": ("gums", 2), "Teeth": ("teeth", 3),
    "Sclera left": ("eye_left", 0), "Sclera right": ("eye_right", 0),
    "Eyelashes left": ("lashes", 6), "Eyelashes right": ("lashes", 6),
}  # fmt: skip
"""Box and UDIM tile of every part; the two eyes share a tile and get a box each."""
_PADDING = 0.002


def build(uv: np.ndarray, uv_triangles: np.ndarray, part: np.ndarray) -> np.ndarray:
    """(uvs, 2) in [0, 1], origin at the top left.

    Args:
        uv: (uvs, 2) of the file, tiles side by side, origin at the bottom left.
        uv_triangles: (triangles, 3).
        part: (triangles,) name of the part of each triangle; no corner belongs to two parts with different boxes.
    """
    packed = np.zeros_like(uv)
    for name, (box, tile) in _TILES.items():
        corners = np.unique(uv_triangles[part == name])
        left, top, width, height = _BOXES[box]
        place = np.clip(uv[corners] - [tile, 0], 0, 1) * [1, -1] + [0, 1]
        packed[corners] = place * [width - 2 * _PADDING, height - 2 * _PADDING] + [left + _PADDING, top + _PADDING]
    return packed
