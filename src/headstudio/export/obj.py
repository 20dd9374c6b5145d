"""A folder with an .obj, its .mtl and its textures: a head that stands still, for programs without glTF."""

from collections.abc import Mapping
from pathlib import Path

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from headstudio import storage
from headstudio.errors import HeadstudioError
from headstudio.export.gltf import check_asset
from headstudio.records.mesh import MeshAsset, MeshPart

OBJ, MTL, COLOUR, ALPHA = "head.obj", "head.mtl", "head.png", "head_alpha.png"


def write_obj(path: Path | str, asset: MeshAsset, pose: Mapping[str, float] | None = None) -> None:
    """Write the folder; only an empty folder or an earlier export is replaced.

    Metres, y up, face to +z, texture coordinates from the lower left as the format wants them; one vertex a vertex,
    with texture seams in the faces. OBJ knows no morph targets: `pose` gives weights by target name, and the head
    stands as they put it. Files are named relative to the folder.
    """
    path = Path(path)
    check_asset(asset)
    vertices_m = posed_vertices(asset, pose or {})
    _check_place(path)
    with storage.replacing_folder(path) as folder:
        (folder / OBJ).write_text(_mesh_text(asset, vertices_m), encoding="ascii")
        (folder / MTL).write_text(_material_text(asset), encoding="ascii")
        picture = asset.texture.permute(1, 2, 0).contiguous().numpy()
        Image.fromarray(picture[..., :3]).save(folder / COLOUR)
        if any(part.transparent for part in asset.parts):
            Image.fromarray(picture[..., 3]).save(folder / ALPHA)


def posed_vertices(asset: MeshAsset, pose: Mapping[str, float]) -> Float[Tensor, "vertices 3"]:
    """The vertices in metres under weights of morph targets, each in [0, 1]."""
    weights = torch.zeros(len(asset.target_names), dtype=torch.float64)
    for name, weight in pose.items():
        if name not in asset.target_names:
            raise HeadstudioError(
                f"the mesh has no morph target {name!r}", next_step=f"use names such as {', '.join(_some(asset))}"
            )
        if not 0 <= weight <= 1:
            raise HeadstudioError(f"the weight {weight:g} of {name} is not in [0, 1]", next_step="give one that is")
        weights[asset.target_names.index(name)] = weight
    return asset.vertices_m.double() + torch.einsum("t,tvc->vc", weights, asset.target_displacements_m.double())


def _some(asset: MeshAsset) -> tuple[str, ...]:
    return asset.target_names[:3]


def _check_place(path: Path) -> None:
    ours = {OBJ, MTL, COLOUR, ALPHA}
    if path.exists() and (not path.is_dir() or {entry.name for entry in path.iterdir()} - ours):
        raise HeadstudioError(
            "something else is here already", where=path, next_step="choose a new folder for the OBJ files"
        )


def _mesh_text(asset: MeshAsset, vertices_m: Tensor) -> str:
    lines = [f"mtllib {MTL}", f"o {asset.name.replace(' ', '_')}"]
    lines += [f"v {x:.7f} {y:.7f} {z:.7f}" for x, y, z in vertices_m.tolist()]
    lines += [f"vt {u:.7f} {1 - v:.7f}" for u, v in asset.uv.double().tolist()]
    lines.append("s 1")
    for part in _drawn(asset):
        lines += [f"g {part.name}", f"usemtl {part.name}"]
        corners = torch.stack([asset.triangles[part.triangles], asset.uv_triangles[part.triangles]], dim=2) + 1
        lines += ["f " + " ".join(f"{vertex}/{uv}" for vertex, uv in face) for face in corners.tolist()]
    return "\n".join(lines) + "\n"


def _material_text(asset: MeshAsset) -> str:
    lines = []
    for part in _drawn(asset):
        lines += [f"newmtl {part.name}", "Ka 0 0 0", "Kd 1 1 1", "Ks 0.04 0.04 0.04", "Ns 30", "illum 2"]
        lines.append(f"map_Kd {COLOUR}")
        if part.transparent:
            lines.append(f"map_d {ALPHA}")
    return "\n".join(lines) + "\n"


def _drawn(asset: MeshAsset) -> list[MeshPart]:
    return [part for part in asset.parts if bool(part.triangles.any())]
