"""`MeshAsset`: a head as any 3D engine knows it: one skinned mesh with morph targets, a texture and perhaps a clip."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor


@dataclass(frozen=True)
class MeshPart:
    """The triangles that share a material."""

    name: str
    """Name of the material: head, eyelashes, ..."""
    triangles: Bool[Tensor, " triangles"]
    """Which triangles of the asset belong to the part."""
    transparent: bool = False
    """Blend by the texture's alpha and draw both sides (hair cards, lashes); otherwise opaque."""


@dataclass(frozen=True)
class MeshClip:
    """A performance of the mesh, in glTF axes."""

    name: str
    times_s: Float[Tensor, " frames"]
    """From 0, strictly increasing."""
    target_weights: Float[Tensor, "frames targets"]
    """Weight of every morph target."""
    T_parent_joint: Float[Tensor, "frames joints 4 4"]
    """Pose of every joint in its parent's frame (the root's in the scene)."""


@dataclass(frozen=True)
class MeshAsset:
    """A head in its own frame (metres, y up, face to +z) at rest. Tensors are on the CPU."""

    name: str
    vertices_m: Float[Tensor, "vertices 3"]
    triangles: Int[Tensor, "triangles 3"]
    """Counter-clockwise seen from outside."""
    uv: Float[Tensor, "uvs 2"]
    """Origin at the top left of the texture."""
    uv_triangles: Int[Tensor, "triangles 3"]
    """Rows of `uv` at the corners of `triangles`: seams are where they disagree about a vertex."""
    target_names: tuple[str, ...]
    target_displacements_m: Float[Tensor, "targets vertices 3"]
    """Displacement of each morph target at weight 1."""
    joint_names: tuple[str, ...]
    joint_parents: tuple[int, ...]
    """Index of each joint's parent, which comes before it; -1 for the one root, which is first."""
    joint_positions_m: Float[Tensor, "joints 3"]
    """Rest positions; all rest rotations are the identity."""
    skin_weights: Float[Tensor, "vertices joints"]
    """Rows sum to 1."""
    texture: UInt8[Tensor, "channels height width"]
    """Base colour, sRGB or sRGB with straight alpha."""
    parts: tuple[MeshPart, ...]
    """Disjoint; a triangle in none of them is left out."""
    clip: MeshClip | None = None
    provenance: Mapping[str, str] = field(default_factory=dict)
    """Who made it from what, under which licence; `copyright` has a place of its own in glTF."""

    def __post_init__(self) -> None:
        problem = _contradiction(self)
        if problem:
            raise ValueError(f"mesh asset {self.name}: {problem}")


def _contradiction(asset: MeshAsset) -> str | None:
    vertices, joints, targets = len(asset.vertices_m), len(asset.joint_names), len(asset.target_names)
    shapes = {
        "target displacements": (asset.target_displacements_m.shape, (targets, vertices, 3)),
        "joint positions": (asset.joint_positions_m.shape, (joints, 3)),
        "skin weights": (asset.skin_weights.shape, (vertices, joints)),
        "uv triangles": (asset.uv_triangles.shape, tuple(asset.triangles.shape)),
    }
    if asset.clip is not None:
        frames = len(asset.clip.times_s)
        shapes["clip weights"] = (asset.clip.target_weights.shape, (frames, targets))
        shapes["clip poses"] = (asset.clip.T_parent_joint.shape, (frames, joints, 4, 4))
    for name, (found, wanted) in shapes.items():
        if tuple(found) != wanted:
            return f"{name} have the shape {tuple(found)} instead of {wanted}"
    disordered = any(parent >= i or (parent < 0) != (i == 0) for i, parent in enumerate(asset.joint_parents))
    if len(asset.joint_parents) != joints or disordered:
        return "the joints are not a tree in order from one root"
    if asset.texture.ndim != 3 or asset.texture.shape[0] not in (3, 4):
        return "the texture has neither 3 nor 4 channels"
    if any(len(part.triangles) != len(asset.triangles) for part in asset.parts):
        return "a part does not have one flag a triangle"
    return None
