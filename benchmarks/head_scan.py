"""The real head scan that benchmarks film: "Infinite, 3D Head Scan by Lee Perry-Smith", CC BY 3.0."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from headstudio.render.mesh import MeshTopology


def read_head_scan(folder: Path) -> tuple[Tensor, MeshTopology, Tensor]:
    """Vertices in the file's own unit, triangles and texture coordinates, and the colour map (1, 3, height, width)."""
    lines = [line.split() for line in (folder / "LeePerry.obj").read_text().splitlines()]
    points, uv = (
        torch.tensor([[float(x) for x in line[1 : 1 + n]] for line in lines if line[:1] == [tag]])
        for tag, n in (("v", 3), ("vt", 2))
    )
    faces = [
        [[int(x) - 1 for x in corner.split("/")[:2]] for corner in line[1:]] for line in lines if line[:1] == ["f"]
    ]
    corners = torch.tensor([[f[0], f[i], f[i + 1]] for f in faces for i in range(1, len(f) - 1)])
    with Image.open(folder / "color.jpg") as file:
        texture = torch.from_numpy(np.asarray(file.convert("RGB")).copy()).permute(2, 0, 1)[None] / 255
    flipped = torch.stack([uv[:, 0], 1 - uv[:, 1]], 1)
    return points, MeshTopology(corners[..., 0].contiguous(), flipped, corners[..., 1].contiguous()), texture
