"""A folder that any static web server shows: the page, the head, and its network for the browser to run every frame."""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from safetensors import numpy as numpy_tensors
from safetensors.torch import save
from torch import Tensor

import headstudio
from headstudio import storage
from headstudio.errors import HeadstudioError
from headstudio.export.accessories import Surface, accessories
from headstudio.export.clip import with_clip
from headstudio.export.gltf import check_asset
from headstudio.export.measure import HeadMeasures, measure_head
from headstudio.export.network import ARKIT_INPUT, POSE_INPUT, write_network
from headstudio.export.repaint import steerable_repainting
from headstudio.export.web_data import accessory_arrays, head_arrays, performance
from headstudio.motion.arkit import NAMES
from headstudio.records.mesh import MeshAsset
from headstudio.records.motion import Motion
from headstudio.training.contract import AvatarModel, Repainting, Runtime

SCHEMA, VERSION = "headstudio.web_avatar", 2
MOTION_SCHEMA, MOTION_VERSION = "headstudio.web_motion", 1
PAGE = Path(__file__).parent / "web_page"
"""The built page; `make web` makes it from the folder web/ of the sources, and wheels carry it."""
ENGINE = ("ort.wasm",)
"""Files of the page that only a network needs."""
WEBCAM = {"folder": "webcam", "model": "face_landmarker.task"}
"""Where the page looks for the detector that its user may put there."""
_BELOW_EYES_M = 0.02  # where the page's camera looks, so that the chin is in the picture


@torch.no_grad()
def write_web(avatar: AvatarModel, path: Path, motion: Motion | None) -> None:
    """Write the folder. What an earlier export left there is replaced, the user's webcam files excepted.

    An avatar whose run-time form tells how its graph repaints the surface, and that ARKit weights and a head pose can
    drive, is painted anew in the browser every frame; any other one shows the texture of its surface.
    """
    path = Path(path)
    _check_place(path)
    if not (PAGE / "index.html").is_file():
        raise HeadstudioError(
            "the web page is not built in this installation",
            where=PAGE,
            next_step="install a wheel of headstudio, or run `make web` in its sources, which needs npm once",
        )
    asset = avatar.surface() if motion is None else with_clip(avatar.surface(), motion)
    check_asset(asset)
    runtime, repainting = steerable_repainting(avatar)
    if repainting is not None and repainting.light_sh is not None and not repainting.light_sh.isfinite().all():
        raise HeadstudioError("the avatar's light is not finite", where=asset.name, next_step="train it again")
    size = measure_head(asset)
    worn = accessories(size)
    with storage.replacing_folder(path) as folder:
        _copy_page(folder, engine=repainting is not None)
        _write_head(folder, asset, runtime, repainting)
        (folder / "accessories.safetensors").write_bytes(numpy_tensors.save(accessory_arrays(worn)))
        if asset.clip is not None:
            _write_compact(folder / "motion.json", MOTION_SCHEMA, MOTION_VERSION, performance(asset, asset.clip))
        storage.write_json(folder / "avatar.json", SCHEMA, VERSION, _description(asset, repainting, size, worn))
        if (path / WEBCAM["folder"]).is_dir():
            shutil.copytree(path / WEBCAM["folder"], folder / WEBCAM["folder"], dirs_exist_ok=True)


def _check_place(path: Path) -> None:
    """Only an empty folder or an earlier export may be replaced."""
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return
    try:
        storage.read_json(path / "avatar.json", SCHEMA, VERSION)
    except HeadstudioError:
        raise HeadstudioError(
            "something else is here already", where=path, next_step="choose a new folder for the web page"
        ) from None


def _copy_page(folder: Path, engine: bool) -> None:
    for source in sorted(PAGE.iterdir()):
        if source.is_file() and (engine or source.name not in ENGINE):
            shutil.copyfile(source, folder / source.name)


def _write_head(folder: Path, asset: MeshAsset, runtime: Runtime, repainting: Repainting | None) -> None:
    opaque = torch.zeros(len(asset.triangles), dtype=torch.bool)
    for part in asset.parts:
        opaque |= part.triangles & (not part.transparent)
    texture = asset.texture
    if repainting is not None:
        opaque[:] = True  # the method's own renderer draws, and has painted, every triangle
        texture = repainting.static
        _write_picture(folder / "blend.png", repainting.blend)
        write_network(folder / "network.onnx", runtime, repainting.output)
    _write_picture(folder / "static.png", texture)
    # As bytes, because safetensors' own files may be read by nobody but their maker, and a web server is another user.
    arrays = {name: values.contiguous() for name, values in head_arrays(asset, opaque).items()}
    (folder / "head.safetensors").write_bytes(save(arrays))


def _write_picture(path: Path, picture: Tensor) -> None:
    values = picture.permute(1, 2, 0).cpu().contiguous().numpy()
    Image.fromarray(values[..., 0] if values.shape[2] == 1 else values).save(path, format="PNG", optimize=True)


def _write_compact(path: Path, schema: str, version: int, content: Mapping[str, Any]) -> None:
    text = json.dumps({"schema": schema, "schema_version": version, **content}, separators=(",", ":"), allow_nan=False)
    path.write_text(text, encoding="utf-8")


def _description(
    asset: MeshAsset, repainting: Repainting | None, size: HeadMeasures, worn: Mapping[str, Sequence[Surface]]
) -> dict[str, Any]:
    """avatar.json: which files there are and what they mean."""
    light_sh = None if repainting is None or repainting.light_sh is None else repainting.light_sh.double().tolist()
    network = {
        "file": "network.onnx",
        "arkit": ARKIT_INPUT,
        "arkit_names": list(NAMES),
        "pose": POSE_INPUT,
        "engine": ENGINE[0],
    }
    return {
        "name": asset.name,
        "generator": f"headstudio {headstudio.__version__}",
        "provenance": dict(asset.provenance),
        "head": "head.safetensors",
        "target_names": list(asset.target_names),
        "joint_names": list(asset.joint_names),
        "texture": "static.png",
        "light_sh": light_sh,
        "repainting": None
        if repainting is None
        else {"output": repainting.output, "blend": "blend.png", "residual": repainting.residual, "network": network},
        "look_at_m": [size.middle, size.eye_y - _BELOW_EYES_M, size.centre],
        "accessories": {
            "file": "accessories.safetensors",
            "surfaces": {
                name: [{"name": surface.name, "opacity": surface.opacity} for surface in surfaces]
                for name, surfaces in worn.items()
            },
        },
        "motion": None if asset.clip is None else "motion.json",
        "webcam": dict(WEBCAM),
    }
