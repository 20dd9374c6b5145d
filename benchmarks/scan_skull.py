"""Real photographs of a skull through the parts of a scan that apply to it: cameras, masks, hull, mesh.

    python benchmarks/scan_skull.py --data ../shared/data --output out/scan_skull

66 photographs from all sides by alansartlog ("Photogrammetry Test Set: Skull - Cameramoves - Flash - No Background",
CC BY 4.0); the flash moves with the camera. Nobody knows the truth, so the surface is held against what it was not made
of: COLMAP's points from all photographs (distance in percent of the skull's height), and the masks of photographs that
the mesh did not see (intersection over union). Masks are cut out by colour (GrabCut), because the person matte was made
for living heads; how well that matte does on bone is a row of its own. A row is kept when it is done.
"""

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import avg_pool2d

from headstudio import storage
from headstudio.capture.ingest import ingest
from headstudio.capture.matte import MediaPipeMatte
from headstudio.errors import HeadstudioError
from headstudio.geometry.camera import Camera
from headstudio.geometry.rigid import transform
from headstudio.progress import Silent
from headstudio.records.scan import RawMesh
from headstudio.render.rasterise import rasterise
from headstudio.scan.calibrate import Lens, Structure, accepted, calibrate
from headstudio.scan.calibration_config import StructureConfig
from headstudio.scan.config import MESH_PRESETS
from headstudio.scan.deferred_shading import reconstruct
from headstudio.scan.hull import visual_hull
from headstudio.scan.making import make_scan
from headstudio.scan.multiview import multiview
from headstudio.synth.video import VideoFormat, write_video
from scan_judging import ExactSurface, clay

SCHEMA, VERSION = "headstudio.benchmark.scan_skull", 1
SIDE_PX, MESH_SHRINK = 684, 2
"""Width of the pictures for structure from motion, and by how much smaller the mesh sees them."""
WITHOUT_STAND = 50
"""From here on a white stand, as bright as bone, touches the skull in the picture: masks by colour fail there."""
MESHED = 18
"""Photographs that the mesh is made of, evenly taken from those without the stand: fewer than 20, as in clip A."""
SEMICIRCLE = (*range(28, 35), *range(17, 25))
"""Photographs (counted from 1) that make a clip A: one ring at the height of the eyes, from one side to the other."""
_SURE_PX, _FAR_PX, _REACH_PX = 15, 21, 91
"""Of the masks: what lies so deep in the light is bone, what lies so far from any is not; shade is sought so near."""


def main() -> None:
    """Make the rows that are not there yet and print all of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared" / "data")
    parser.add_argument("--output", type=Path, default=Path("out/scan_skull"))
    parser.add_argument("--mesh", default="draft", choices=["draft", "standard", "paper"])
    options = parser.parse_args()
    folder = options.data / "sfm_skull"
    if not folder.exists():
        print(f"skipped: {folder} is not there")
        return
    skull = Skull(folder, options.output, options.mesh)
    rows: dict[str, Callable[[], dict]] = {
        "whole": skull.whole,
        "cameras": skull.cameras,
        "matte": skull.matte,
        "hull": lambda: skull.surface(skull.hull()),
        f"mesh-{options.mesh}": lambda: skull.surface(skull.mesh()),
    }
    for name, make in rows.items():
        place = options.output / f"{name}.json"
        if not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            storage.write_json(place, SCHEMA, VERSION, {"scores": make()})
        print(f"{name:12s} {json.dumps(storage.read_json(place, SCHEMA, VERSION)['scores'])}", flush=True)
    skull.picture(options.output / f"mesh-{options.mesh}.png")


@dataclass(frozen=True)
class Skull:
    """The photographs and what is made of them."""

    folder: Path
    output: Path
    preset: str

    @cached_property
    def images(self) -> list[np.ndarray]:
        """All photographs, smaller."""
        return [_read(path, SIDE_PX) for path in sorted(self.folder.glob("*.jpg"))]

    @cached_property
    def masks(self) -> list[np.ndarray]:
        """The skull in each, boolean."""
        return [cut_out(image) for image in self.images]

    @cached_property
    def structure(self) -> Structure:
        """Cameras and points of all photographs."""
        place = self.output / "structure.safetensors"
        if not place.exists():
            height, width = self.images[0].shape[:2]
            lens = Lens(1.2 * width, False, (width / 2, height / 2))
            masks = [cv2.erode(m.astype(np.uint8), np.ones((5, 5))) > 0 for m in self.masks]
            found = calibrate(self.images, masks, lens, StructureConfig(), Silent())
            kept = {name: torch.as_tensor(value) for name, value in vars(found).items()}
            place.parent.mkdir(parents=True, exist_ok=True)
            storage.write_tensors(place, kept)
        kept = storage.read_tensors(place, set(Structure.__annotations__))
        return Structure(**{name: value.item() if value.ndim == 0 else value for name, value in kept.items()})

    @cached_property
    def K_px(self) -> Tensor:
        """Of the pictures."""
        height, width = self.images[0].shape[:2]
        return Camera.from_focal(self.structure.focal_px, width, height).K_px

    @cached_property
    def poses(self) -> dict[int, Tensor]:
        """World to camera by the number of the photograph."""
        return {
            int(i): T.float() for i, T in zip(self.structure.registered, self.structure.T_camera_world, strict=True)
        }

    @cached_property
    def meshed(self) -> list[int]:
        """Photographs that the mesh is made of."""
        usable = [i for i in self.poses if i + 1 < WITHOUT_STAND]
        return [usable[round(k)] for k in np.linspace(0, len(usable) - 1, MESHED)]

    @cached_property
    def points(self) -> Tensor:
        """COLMAP's points, which no mesh knows."""
        return self.structure.points.float()

    @cached_property
    def height(self) -> float:
        """Of the skull in the world's unit: the longest extent of the points without their outermost hundredth."""
        low, high = (torch.quantile(self.points, q, dim=0) for q in (0.01, 0.99))
        return float((high - low).max())

    def whole(self) -> dict:
        """What `headstudio scan` says to a film of the ring at the height of the eyes."""
        film = self.output / "ring.mp4"
        pictures = [torch.from_numpy(_read(self.folder / f"{i:02d}.jpg", 1368)) for i in SEMICIRCLE]
        height, width = pictures[0].shape[:2]
        times_s = torch.arange(len(pictures), dtype=torch.float64) / 2
        film.parent.mkdir(parents=True, exist_ok=True)
        write_video(film, iter(pictures), times_s, VideoFormat(width, height, 2.0))
        try:
            scan = make_scan(ingest(film, self.output / "capture"))
        except HeadstudioError as error:
            return {"scan": "refused", "what": error.what, "next_step": error.next_step}
        return {"scan": "made", "views": scan.views, "told": list(scan.told)}

    def cameras(self) -> dict:
        """Structure from motion."""
        found, offered = self.structure, len(self.images)
        return {
            "registered": f"{len(found.registered)}/{offered}",
            "reprojection_px": round(found.reprojection_px, 3),
            "points": len(found.points),
            "focal_px": round(found.focal_px, 1),
            "refused": accepted(found, offered, SIDE_PX, StructureConfig()),
        }

    def matte(self) -> dict:
        """The person matte against the masks by colour, where these can be trusted."""
        person = MediaPipeMatte()
        shares = []
        for image, mask in zip(self.images[: WITHOUT_STAND - 1], self.masks, strict=False):
            shares.append(_overlap(person.estimate(image) > 0.5, mask))
        person.close()
        return {"iou_median": round(float(np.median(shares)), 3), "iou_least": round(min(shares), 3)}

    def hull(self) -> RawMesh:
        """What the masks alone give."""
        views, vertices, triangles = visual_hull(multiview(*self._views()), MESH_PRESETS[self.preset].hull_cells, 0.5)
        return RawMesh(views.to_world(vertices), triangles)

    def mesh(self) -> RawMesh:
        """Neural deferred shading."""
        place = self.output / f"mesh-{self.preset}.safetensors"
        if not place.exists():
            found = reconstruct(*self._views(), MESH_PRESETS[self.preset])
            storage.write_tensors(place, {"vertices": found.vertices_m, "triangles": found.triangles})
        kept = storage.read_tensors(place, {"vertices", "triangles"})
        return RawMesh(kept["vertices"], kept["triangles"])

    def surface(self, mesh: RawMesh) -> dict:
        """Against COLMAP's points, and against the masks that the mesh did not see."""
        percent = 100 * ExactSurface(mesh.vertices_m, mesh.triangles).distance(self.points) / self.height
        unseen = [i for i in self.poses if i + 1 < WITHOUT_STAND and i not in self.meshed]
        shares = [_overlap(self._silhouette(mesh, i), self.masks[i]) for i in unseen]
        return {
            "views": len(self.meshed),
            "points_median_pct": round(float(percent.median()), 3),
            "points_p95_pct": round(float(percent.quantile(0.95)), 3),
            "unseen_masks": len(shares),
            "iou_median": round(float(np.median(shares)), 3),
            "iou_least": round(min(shares), 3),
            "vertices": len(mesh.vertices_m),
        }

    def picture(self, path: Path) -> None:
        """Photograph, hull, mesh, and the mesh's silhouette over the mask, from four photographs it did not see."""
        unseen = [i for i in self.poses if i not in self.meshed and i + 1 < WITHOUT_STAND]
        chosen = [unseen[round(k)] for k in np.linspace(0, len(unseen) - 1, 6)]
        hull, mesh = self.hull(), self.mesh()
        rows = []
        for i in chosen:
            shape = self._silhouette(mesh, i)
            outline = np.stack([shape & ~self.masks[i], shape & self.masks[i], self.masks[i] & ~shape], 2) * 255
            clays = [_painted(m, self.poses[i], self._camera()) for m in (hull, mesh)]
            rows.append(np.concatenate([self.images[i], *clays, outline.astype(np.uint8)], 1))
        sheet = Image.fromarray(np.concatenate(rows))
        sheet.resize((sheet.width // 2, sheet.height // 2)).save(path)

    def _camera(self) -> Camera:
        height, width = self.images[0].shape[:2]
        return Camera(self.K_px, width, height)

    def _silhouette(self, mesh: RawMesh, photograph: int) -> np.ndarray:
        points = transform(self.poses[photograph], mesh.vertices_m)
        return (rasterise(points[None], mesh.triangles, self._camera()).triangle[0] >= 0).numpy()

    def _views(self) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        stacked = torch.from_numpy(np.stack([self.images[i] for i in self.meshed])).permute(0, 3, 1, 2).float() / 255
        masks = torch.from_numpy(np.stack([self.masks[i] for i in self.meshed]))[:, None].float()
        images, masks = (avg_pool2d(x, MESH_SHRINK) for x in (stacked, masks))
        camera = self._camera().resized(images.shape[-1], images.shape[-2])
        poses = torch.stack([self.poses[i] for i in self.meshed])
        masks = masks[:, 0]
        return (
            images.permute(0, 2, 3, 1).contiguous(), masks, torch.ones_like(masks),
            camera.K_px.expand(len(poses), 3, 3), poses,
        )  # fmt: skip


def cut_out(image: np.ndarray) -> np.ndarray:
    """The largest bright thing and what is joined to it in the flash's shade, its border fitted to the colours on
    either side (GrabCut; Rother et al. 2004)."""
    value = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)[..., 2]
    level, _ = cv2.threshold(value, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    bright = _largest((value > level).astype(np.uint8))
    near = cv2.dilate(bright, np.ones((_REACH_PX, _REACH_PX))) > 0
    stops = (np.log2(1.0 + value) / 8.0 * 255.0).astype(np.uint8)
    shade, _ = cv2.threshold(stops[near][None], 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    bone = _largest(((stops > shade) & near).astype(np.uint8))
    guess = np.where(bone, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    guess[cv2.erode(bright, np.ones((_SURE_PX, _SURE_PX))) > 0] = cv2.GC_FGD
    guess[cv2.dilate(bone, np.ones((_FAR_PX, _FAR_PX))) == 0] = cv2.GC_BGD
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.setRNGSeed(0)
    cv2.grabCut(np.ascontiguousarray(image[..., ::-1]), guess, None, *models, 4, cv2.GC_INIT_WITH_MASK)
    return _largest(((guess == cv2.GC_FGD) | (guess == cv2.GC_PR_FGD)).astype(np.uint8)) > 0


def _largest(mask: np.ndarray) -> np.ndarray:
    _, labels, told, _ = cv2.connectedComponentsWithStats(mask)
    return (labels == 1 + told[1:, cv2.CC_STAT_AREA].argmax()).astype(np.uint8)


def _overlap(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / max((a | b).sum(), 1))


def _read(path: Path, width: int) -> np.ndarray:
    with Image.open(path) as picture:
        size = width, round(picture.height * width / picture.width)
        return np.array(picture.convert("RGB").resize(size, Image.Resampling.LANCZOS))


def _painted(mesh: RawMesh, T: Tensor, camera: Camera) -> np.ndarray:
    grey = torch.full((len(mesh.vertices_m), 3), 0.8)
    return (clay(mesh.vertices_m, mesh.triangles, grey, T, camera).clamp(0, 1) * 255).byte().numpy()


if __name__ == "__main__":
    main()
