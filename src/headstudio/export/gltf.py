"""One .glb file of a `MeshAsset`: glTF 2.0, a skinned mesh with named morph targets, its texture and its clip."""

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pygltflib as gl
import roma
import torch
from PIL import Image
from torch import Tensor

import headstudio
from headstudio import storage
from headstudio.errors import HeadstudioError
from headstudio.export import basis
from headstudio.export.glb_buffer import GlbBuffer
from headstudio.export.seams import split_seams
from headstudio.records.mesh import MeshAsset, MeshClip, MeshPart
from headstudio.render.normals import vertex_normals

_ROUGHNESS = 0.6  # skin under a broad highlight
_INFLUENCES = 4  # joints a vertex in one JOINTS_0 set
_BASIS = "KHR_texture_basisu"
_STILL_M = 5e-7  # displacements below half a micrometre are rounding
_CONSTANT = 1e-6  # a joint that moves less than this needs no channel


@dataclass(frozen=True)
class GltfOptions:
    """How the file is written."""

    unlit: bool = False
    """Show the texture as it is (KHR_materials_unlit). The light of the capture is baked into a draft's texture, so
    unlit repeats the video; off by default, because an engine expects a head that its own lights reach and some
    importers ignore the extension."""
    sparse_targets: bool = True
    """Store only the vertices that a morph target moves, where that is smaller."""
    texture: str = "png"
    """png, which everybody reads; or ktx2 or ktx2-small (KHR_texture_basisu), which stay compressed on the GPU."""
    basisu: str | None = None
    """The encoder of ktx2 (`headstudio.export.basis.find_basisu`)."""

    def __post_init__(self) -> None:
        if self.texture not in (known := ("png", *basis.MODES)):
            raise HeadstudioError(
                f"no texture is written as {self.texture!r}", next_step=f"choose one of: {', '.join(known)}"
            )


def write_glb(path: Path | str, asset: MeshAsset, options: GltfOptions | None = None) -> None:
    """Write the file; what was there before is replaced whole."""
    content = glb_bytes(asset, options or GltfOptions())
    with storage.replacing_file(Path(path)) as building:
        building.write_bytes(content)


def glb_bytes(asset: MeshAsset, options: GltfOptions) -> bytes:
    """The file's content.

    Morph targets carry no normals: they would double the file, and with the light baked into the texture nothing
    would show it.
    """
    check_asset(asset)
    document = gl.GLTF2(
        asset=gl.Asset(
            version="2.0",
            generator=f"headstudio {headstudio.__version__}",
            copyright=asset.provenance.get("copyright"),
            extras={"provenance": dict(asset.provenance)},
        ),
        scene=0,
    )
    buffer = GlbBuffer(document)
    _add_mesh(buffer, asset, options)
    _add_materials(buffer, asset, options)
    _add_skeleton(buffer, asset)
    if asset.clip is not None:
        _add_clip(buffer, asset, asset.clip)
    buffer.close()
    return b"".join(document.save_to_bytes())


def check_asset(asset: MeshAsset) -> None:
    """Refuse what no program could show: values that are not finite, no triangle, a clip whose clock stands still."""
    tables = [asset.vertices_m, asset.uv, asset.target_displacements_m, asset.joint_positions_m, asset.skin_weights]
    if asset.clip is not None:
        tables += [asset.clip.times_s, asset.clip.target_weights, asset.clip.T_parent_joint]
    if not all(bool(torch.isfinite(table).all()) for table in tables):
        raise HeadstudioError("the mesh holds values that are not finite", where=asset.name, next_step="train it again")
    if not any(bool(part.triangles.any()) for part in asset.parts):
        raise HeadstudioError("the mesh has no triangle", where=asset.name, next_step="export another avatar")
    if asset.clip is not None and len(asset.clip.times_s) == 0:
        raise HeadstudioError("the clip has no frame", where=asset.clip.name, next_step="give a longer performance")
    if asset.clip is not None and bool((asset.clip.times_s.float().diff() <= 0).any()):
        raise HeadstudioError(
            "the clip's clock does not advance", where=asset.clip.name, next_step="remove the repeated frames"
        )


def _add_mesh(buffer: GlbBuffer, asset: MeshAsset, options: GltfOptions) -> None:
    kept = torch.stack([part.triangles for part in asset.parts]).any(0)
    split = split_seams(asset, kept)
    normals = _unit_normals(asset.vertices_m, asset.triangles[kept])
    joints, weights = _influences(asset.skin_weights)
    attributes = gl.Attributes(
        POSITION=buffer.accessor(_floats(asset.vertices_m[split.vertex]), gl.ARRAY_BUFFER, bounds=True),
        NORMAL=buffer.accessor(_floats(normals[split.vertex]), gl.ARRAY_BUFFER),
        TEXCOORD_0=buffer.accessor(_floats(split.uv), gl.ARRAY_BUFFER),
        JOINTS_0=buffer.accessor(joints[split.vertex].numpy(), gl.ARRAY_BUFFER),
        WEIGHTS_0=buffer.accessor(_floats(weights[split.vertex]), gl.ARRAY_BUFFER),
    )
    targets = [
        gl.Attributes(POSITION=buffer.displacements(_floats(moved[split.vertex]), _STILL_M, options.sparse_targets))
        for moved in asset.target_displacements_m
    ]
    position = torch.cumsum(kept, 0) - 1  # of each kept triangle among the split ones
    primitives = [
        gl.Primitive(
            attributes=attributes,
            indices=_indices(buffer, split.triangles[position[part.triangles]], len(split.vertex)),
            material=material,
            targets=targets,
        )
        for material, part in enumerate(_drawn(asset))
    ]
    names = {"targetNames": list(asset.target_names)}
    mesh = gl.Mesh(name=asset.name, primitives=primitives, weights=[0.0] * len(asset.target_names), extras=names)
    buffer.document.meshes.append(mesh)


def _unit_normals(vertices_m: Tensor, triangles: Tensor) -> Tensor:
    """Smooth normals of the mesh before its seams are split, so that they stay invisible; +z where undefined."""
    normals = vertex_normals(vertices_m[None], triangles)[0].double()
    length = normals.norm(dim=1, keepdim=True)
    return torch.where(length > 0.5, normals / length, normals.new_tensor([0.0, 0.0, 1.0]))


def _drawn(asset: MeshAsset) -> list[MeshPart]:
    return [part for part in asset.parts if bool(part.triangles.any())]


def _indices(buffer: GlbBuffer, triangles: Tensor, vertices: int) -> int:
    # The largest index of a type is reserved for primitive restart.
    kind = np.uint16 if vertices <= 0xFFFF else np.uint32
    return buffer.accessor(triangles.numpy().astype(kind).reshape(-1), gl.ELEMENT_ARRAY_BUFFER)


def _influences(skin_weights: Tensor) -> tuple[Tensor, Tensor]:
    """The strongest joints of each vertex and their weights, which sum to 1; joint 0 where the weight is 0."""
    padded = torch.nn.functional.pad(
        skin_weights.double().clamp(min=0), (0, max(_INFLUENCES - skin_weights.shape[1], 0))
    )
    weights, joints = padded.topk(_INFLUENCES, dim=1)
    weights = weights / weights.sum(1, keepdim=True)
    weights = torch.where(weights < 1e-6, 0.0, weights)
    weights = (weights / weights.sum(1, keepdim=True)).float()
    return torch.where(weights > 0, joints, 0).to(torch.uint8), weights


def _add_materials(buffer: GlbBuffer, asset: MeshAsset, options: GltfOptions) -> None:
    document = buffer.document
    compressed = options.texture in basis.MODES
    content, kind = _picture(asset, options), "image/ktx2" if compressed else "image/png"
    document.images.append(gl.Image(name="base colour", mimeType=kind, bufferView=buffer.view(content)))
    document.samplers.append(
        gl.Sampler(
            magFilter=gl.LINEAR, minFilter=gl.LINEAR_MIPMAP_LINEAR, wrapS=gl.CLAMP_TO_EDGE, wrapT=gl.CLAMP_TO_EDGE
        )
    )
    if compressed:
        document.textures.append(gl.Texture(sampler=0, extensions={_BASIS: {"source": 0}}))
        document.extensionsUsed.append(_BASIS)
        document.extensionsRequired.append(_BASIS)
    else:
        document.textures.append(gl.Texture(sampler=0, source=0))
    document.materials.extend(_material(part, options) for part in _drawn(asset))
    if options.unlit:
        document.extensionsUsed.append("KHR_materials_unlit")


def _picture(asset: MeshAsset, options: GltfOptions) -> bytes:
    picture = Image.fromarray(asset.texture.permute(1, 2, 0).contiguous().numpy())
    if options.texture in basis.MODES:
        return basis.encoded(picture, options.texture, options.basisu)
    content = io.BytesIO()
    picture.save(content, format="PNG")
    return content.getvalue()


def _material(part: MeshPart, options: GltfOptions) -> gl.Material:
    return gl.Material(
        name=part.name,
        pbrMetallicRoughness=gl.PbrMetallicRoughness(
            baseColorTexture=gl.TextureInfo(index=0), metallicFactor=0.0, roughnessFactor=_ROUGHNESS
        ),
        alphaMode=gl.BLEND if part.transparent else gl.OPAQUE,
        alphaCutoff=None,
        doubleSided=part.transparent,
        extensions={"KHR_materials_unlit": {}} if options.unlit else {},
    )


def _add_skeleton(buffer: GlbBuffer, asset: MeshAsset) -> None:
    """Node 0 is the mesh, node 1 + j is joint j; both trees stand in the scene, as skinned meshes must."""
    document = buffer.document
    document.nodes.append(gl.Node(name=asset.name, mesh=0, skin=0))
    for joint, (name, parent) in enumerate(zip(asset.joint_names, asset.joint_parents, strict=True)):
        children = [1 + child for child, above in enumerate(asset.joint_parents) if above == joint]
        offset = asset.joint_positions_m[joint] - (asset.joint_positions_m[parent] if parent >= 0 else 0.0)
        document.nodes.append(gl.Node(name=name, translation=offset.tolist(), children=children))
    inverse_bind = torch.eye(4).repeat(len(asset.joint_names), 1, 1)
    inverse_bind[:, :3, 3] = -asset.joint_positions_m.float()
    # glTF stores matrices column by column.
    matrices = buffer.accessor(_floats(inverse_bind.transpose(1, 2).flatten(1)))
    joints = list(range(1, 1 + len(asset.joint_names)))
    document.skins.append(gl.Skin(name="skeleton", inverseBindMatrices=matrices, skeleton=1, joints=joints))
    document.scenes.append(gl.Scene(name=asset.name, nodes=[0, 1]))


def _add_clip(buffer: GlbBuffer, asset: MeshAsset, clip: MeshClip) -> None:
    animation = gl.Animation(name=clip.name)
    times = buffer.accessor(_floats(clip.times_s), bounds=True)

    def add(node: int, path: str, values: Tensor) -> None:
        sampler = gl.AnimationSampler(
            input=times, output=buffer.accessor(_floats(values)), interpolation=gl.ANIM_LINEAR
        )
        animation.samplers.append(sampler)
        target = gl.AnimationChannelTarget(node=node, path=path)
        animation.channels.append(gl.AnimationChannel(sampler=len(animation.samplers) - 1, target=target))

    add(0, "weights", clip.target_weights.reshape(-1))
    for joint, parent in enumerate(asset.joint_parents):
        pose = clip.T_parent_joint[:, joint].double()
        rest = asset.joint_positions_m[joint] - (asset.joint_positions_m[parent] if parent >= 0 else 0.0)
        if bool(((pose[:, :3, :3] - torch.eye(3)).abs() > _CONSTANT).any()):
            add(1 + joint, "rotation", _continuous(roma.rotmat_to_unitquat(pose[:, :3, :3])))
        if bool(((pose[:, :3, 3] - rest).abs() > _CONSTANT).any()):
            add(1 + joint, "translation", pose[:, :3, 3])
    buffer.document.animations.append(animation)


def _continuous(quaternions: Tensor) -> Tensor:
    """The same rotations with signs that never jump, for players that interpolate without looking."""
    agree = (quaternions[1:] * quaternions[:-1]).sum(-1)
    signs = torch.where(agree < 0, -1.0, 1.0).to(quaternions).cumprod(0)
    return torch.cat([quaternions[:1], quaternions[1:] * signs[:, None]])


def _floats(values: Tensor) -> np.ndarray:
    return values.detach().cpu().to(torch.float32).numpy()
