"""Stored embeddings of MediaPipe's 478 landmarks, made by benchmarks/landmark_embedding.py."""

from pathlib import Path

import torch
from safetensors.torch import load_file

from headstudio.errors import HeadstudioError
from headstudio.heads.base import LandmarkEmbedding

LANDMARKS = 478
"""MediaPipe's FaceMesh with irises: 468 of the surface and five of each iris (right eye first)."""


def read_embedding(head: str, triangles: int) -> LandmarkEmbedding:
    """The embedding stored with the package for a head; weights are zero where there is none.

    Args:
        head: the head's registered name.
        triangles: number of its triangles, to notice a table that was made for another mesh.
    """
    path = Path(__file__).parent / "tables" / f"{head}_landmarks.safetensors"
    if not path.exists():
        return absent_embedding()
    table = load_file(path)
    if int(table["triangles"]) != triangles:
        raise HeadstudioError(
            f"the landmark table of head {head} was made for another mesh",
            where=path,
            next_step="use the version of the head's data named in the documentation",
        )
    return LandmarkEmbedding(table["triangle"].long(), table["barycentric"], table["weight"])


def absent_embedding() -> LandmarkEmbedding:
    """An embedding that trusts no landmark."""
    barycentric = torch.full((LANDMARKS, 3), 1 / 3)
    return LandmarkEmbedding(torch.zeros(LANDMARKS, dtype=torch.long), barycentric, torch.zeros(LANDMARKS))
