"""From a parametric head and a texture to the mesh that 3D engines know."""

from collections.abc import Mapping

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from headstudio.heads.arkit import ARKIT_NAMES
from headstudio.heads.base import JOINT_PARENTS, JOINTS, HeadModel
from headstudio.records.mesh import MeshAsset, MeshPart


@torch.no_grad()
def mesh_asset(
    head: HeadModel,
    neutral_m: Float[Tensor, "vertices 3"],
    texture: UInt8[Tensor, "channels height width"],
    provenance: Mapping[str, str] | None = None,
) -> MeshAsset:
    """A head at rest with one morph target for each ARKit-52 unit.

    A target is the displacement that its unit causes alone at weight 1, eyeballs and jaw included, so an engine that
    knows only morph targets moves everything. Eyelashes are cards whose hairs are in the alpha channel: they become
    a transparent part when the texture has one, and are left out otherwise.

    Args:
        head: the head model.
        neutral_m: the person's neutral vertices in the head frame.
        texture: sRGB or straight sRGBA in the head's UV atlas.
        provenance: who made it from what; the head's licence is added.
    """
    rest = head.pose(neutral_m[None], head.rest())
    units = head.pose(neutral_m[None], head.from_arkit(torch.eye(len(ARKIT_NAMES)).to(neutral_m)))
    return MeshAsset(
        name=f"{head.name} head",
        vertices_m=rest[0].cpu(),
        triangles=head.data.triangles.cpu(),
        uv=head.data.uv.cpu(),
        uv_triangles=head.data.uv_triangles.cpu(),
        target_names=ARKIT_NAMES,
        target_displacements_m=(units - rest).cpu(),
        joint_names=JOINTS,
        joint_parents=JOINT_PARENTS,
        joint_positions_m=head.joints(neutral_m[None])[0].cpu(),
        skin_weights=head.data.skin_weights.cpu(),
        texture=texture.cpu(),
        parts=_parts(head, transparent=texture.shape[0] == 4),
        provenance={"head": head.name, "head_licence": head.data.licence, **(provenance or {})},
    )


def _parts(head: HeadModel, transparent: bool) -> tuple[MeshPart, ...]:
    triangles = head.data.triangles.cpu()
    lashes = head.region("eyelashes").cpu()[triangles].all(dim=1)
    parts = [MeshPart("head", ~lashes)]
    if transparent and lashes.any():
        parts.append(MeshPart("eyelashes", lashes, transparent=True))
    return tuple(parts)
