"""Clip A against truth, end to end: structure from motion, mesh, registered head; beside it what is cheaper or older.

    python benchmarks/scan_truth.py --data ../shared/data --output out/scan_truth
    python benchmarks/scan_truth.py --subjects "head scan" --rows mesh delaunay poisson

Subjects are films with known cameras (scan_films.py): "head scan" is "Infinite, 3D Head Scan by Lee Perry-Smith"
(CC BY 3.0), eyes shut and unit unstated; actors are synthetic, open-eyed, and have metres. Rows of each:

cameras     errors of structure from motion after one similarity, degrees and percent of the distance; and the metres
mesh        what neural deferred shading makes of those cameras
known       the same with the true cameras, which tells what the cameras cost
registered  the head model laid over that mesh
landmarks   the identity basis fitted to the triangulated landmarks alone, with the same cameras
tracked     the neutral head of `headstudio track` on the same film: one camera, no surface
delaunay    COLMAP's points, triangulated anew with the same cameras, and a cut through their tetrahedra
poisson     the same points and Poisson's surface through pycolmap

Distances are in percent of the true head's height, from points of the true face that two cameras see to the surface,
after the one similarity that brings them nearest; `unmoved` is after the similarity of the cameras alone. A row is kept
when it is done, so the command goes on where it stopped.
"""

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from head_scan import read_head_scan
from headstudio import storage
from headstudio.capture.ingest import ingest
from headstudio.geometry.camera import Camera
from headstudio.geometry.rigid import invert, relative_orientation
from headstudio.heads import load_head
from headstudio.heads.base import HeadModel
from headstudio.progress import Silent
from headstudio.records.capture import Capture
from headstudio.records.scan import RawMesh, Scan
from headstudio.records.track import Track
from headstudio.report.scan_report import write_scan_report
from headstudio.scan.alignment import align, landmark_cloud
from headstudio.scan.fitting import fitted_skin
from headstudio.scan.making import make_scan
from headstudio.scan.registering import with_registration
from headstudio.scan.registration_config import REGISTRATION_PRESETS
from headstudio.scan.surface import with_mesh
from headstudio.tracking.config import TrackingConfig
from headstudio.tracking.tracker import track
from scan_cameras import camera_errors, metres, summary
from scan_classic import Cloud, cloud_of, delaunay, poisson
from scan_films import SIZE_PX, Filmed, actor, bust_m, hair_of, head_scan
from scan_judging import TrueFace, from_cameras, judged, sheet, skin_triangles, true_face
from scan_mesh import BROW, CHIN, CROWN, EAR_PLANE
from scan_registration import from_landmarks
from tracking_scores import turn_error_deg
from tracking_surface import Similarity

SCHEMA, VERSION = "headstudio.benchmark.scan_truth", 1
SUBJECTS = ("head scan", "actor 21", "actor 22")
MODES = {21: "chair", 22: "sweep"}
ROWS = ("cameras", "mesh", "known", "registered", "landmarks", "tracked", "delaunay", "poisson")
_CHIN = 152
_CELL_PX = 240
_NEAR_DEG = 45.0
"""Within this yaw the tracker's rotations are told apart from those in profile."""


def main() -> None:
    """Make the rows that are not there yet and print all of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared" / "data")
    parser.add_argument("--output", type=Path, default=Path("out/scan_truth"))
    parser.add_argument("--films", type=Path, help="films that are there already; by default in the output")
    parser.add_argument("--subjects", nargs="+", default=SUBJECTS, choices=SUBJECTS)
    parser.add_argument("--rows", nargs="+", default=ROWS, choices=ROWS)
    parser.add_argument("--mesh", default="draft", choices=["draft", "standard", "paper"])
    parser.add_argument("--registration", default="standard", choices=list(REGISTRATION_PRESETS))
    options = parser.parse_args()
    model = options.data / "models" / "lee_perry_smith"
    for name in options.subjects:
        if name == "head scan" and not model.exists():
            print(f"{name} skipped: {model} is not there")
            continue
        subject = Subject(name, options, model)
        for row in options.rows:
            print(f"{name:10s} {row:11s} {_kept(subject, row)}", flush=True)
        if {"mesh", "delaunay", "poisson"} <= set(options.rows):
            subject.picture()


def _kept(subject: "Subject", row: str) -> str:
    presets = f"-{subject.options.mesh}" if row in ("mesh", "known", "registered") else ""
    presets += f"-{subject.options.registration}" if row == "registered" else ""
    place = subject.folder / f"{row}{presets}.json"
    if not place.exists():
        scores = getattr(subject, row)()
        storage.write_json(place, SCHEMA, VERSION, {"scores": scores})
    return json.dumps(storage.read_json(place, SCHEMA, VERSION)["scores"])


@dataclass(frozen=True)
class Subject:
    """A film with its truth, and everything that is made of it, one stage after the other."""

    name: str
    options: argparse.Namespace
    model: Path

    @property
    def folder(self) -> Path:
        """Where its rows and records lie."""
        place = self.options.output / self.name.replace(" ", "-")
        place.mkdir(parents=True, exist_ok=True)
        return place

    @property
    def seed(self) -> int:
        """Of an actor."""
        return int(self.name.split()[1])

    @cached_property
    def film(self) -> Filmed:
        """The clip."""
        folder = self.options.films or self.options.output / "films"
        if self.name == "head scan":
            return head_scan(folder, self.model)
        return actor(folder, self.seed, MODES[self.seed])

    @cached_property
    def face(self) -> TrueFace:
        """The truth."""
        if self.film.neutral_m is None:
            return _scanned_face(self.model, self.film)
        head = load_head("makehuman")
        face = fitted_skin(head)[head.triangles].all(1)
        chin = head.landmark_points(self.film.neutral_m[None])[0, _CHIN, 1]
        height_m = float(self.film.neutral_m[head.region("scalp"), 1].max() - chin)
        return true_face(self.film.neutral_m, head.triangles, face, height_m, self.film, hair_of(self.seed))

    @cached_property
    def capture(self) -> Capture:
        """The film as it is stored for work."""
        place = self.folder / "capture"
        return Capture.load(place) if (place / "capture.json").exists() else ingest(self.film.video, place)

    @cached_property
    def calibrated(self) -> Scan:
        """Cameras."""
        return self._stage("calibrated", lambda: make_scan(self.capture))

    @cached_property
    def meshed(self) -> Scan:
        """And the surface."""
        preset = self.options.mesh
        return self._stage(f"mesh-{preset}", lambda: with_mesh(self.calibrated, preset, Silent()))

    @cached_property
    def fitted(self) -> Scan:
        """And the head model."""
        preset = self.options.registration
        name = f"registered-{self.options.mesh}-{preset}"
        scan = self._stage(name, lambda: with_registration(self.meshed, REGISTRATION_PRESETS[preset]))
        write_scan_report(self.folder / f"{name}.html", scan)
        return scan

    @cached_property
    def cloud(self) -> Cloud:
        """COLMAP's points, with the scan's cameras."""
        return cloud_of(self.calibrated, self.folder / "colmap")

    def _stage(self, name: str, make: Callable[[], Scan]) -> Scan:
        place = self.folder / name
        if not (place / "scan.json").exists():
            make().save(place)
        return Scan.load(place)

    def cameras(self) -> dict:
        """Errors of the cameras, and the metres."""
        scan, crop = self.calibrated, self.capture.views[0].crop
        rotation_deg, position_pct, _ = camera_errors(scan.T_camera_world, self.film.T_camera_head[scan.frames])
        focal_px = float(self.film.K_px[0, 0]) * self.capture.size_px / crop.side_px
        seed = 0 if self.film.neutral_m is None else self.seed
        return {
            "views": f"{scan.views}/{scan.residuals.offered}",
            "rotation_deg": summary(rotation_deg),
            "position_pct": summary(position_pct),
            "focal_error_pct": round(100 * (float(scan.K_px[0, 0, 0]) / focal_px - 1), 2),
            "scale": scan.scale.source.value,
            "told": list(scan.told),
            **metres(self.film, scan, seed),
        }

    def mesh(self) -> dict:
        """The surface."""
        assert self.meshed.mesh is not None
        return self._surface(self.meshed.mesh)

    def known(self) -> dict:
        """The surface from the true cameras."""
        preset = self.options.mesh
        mesh = self._stage(f"known-{preset}", lambda: with_mesh(self._truly_calibrated(), preset, Silent())).mesh
        assert mesh is not None
        # The scan's frame is that of its head; where both are the same, nothing is left to be found but a small shift.
        start = Similarity(1.0, torch.eye(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64))
        return judged(self.face, mesh.vertices_m, mesh.triangles, start)[0] | {"vertices": len(mesh.vertices_m)}

    def delaunay(self) -> dict:
        """COLMAP's points and its mesher."""
        return {**self._surface(delaunay(self.cloud)), **self.cloud.told()}

    def poisson(self) -> dict:
        """COLMAP's points and Poisson's surface."""
        return {**self._surface(poisson(self.cloud)), **self.cloud.told()}

    def picture(self) -> None:
        """Truth, mesh, registered head, cut and Poisson's surface side by side."""
        scan, head = self.fitted, load_head(self.fitted.head)
        assert scan.mesh is not None
        meshes = [self.meshed.mesh, RawMesh(self._posed(), skin_triangles(head)), delaunay(self.cloud)]
        poses = [self.calibrated.T_camera_world, scan.T_camera_head, *[self.calibrated.T_camera_world] * 2]
        found = []
        for mesh, pose in zip([*meshes, poisson(self.cloud)], poses, strict=True):
            assert mesh is not None
            start = from_cameras(self.film.T_camera_head[scan.frames], pose)
            found.append(
                (mesh.vertices_m, mesh.triangles, judged(self.face, mesh.vertices_m, mesh.triangles, start)[1])
            )
        pixels = (sheet(self.face, found, _CELL_PX).clamp(0, 1) * 255).byte().numpy()
        Image.fromarray(pixels).save(self.folder / f"surfaces-{self.options.mesh}.jpg", quality=75)

    def registered(self) -> dict:
        """The head model on the surface, as the person looked in the film."""
        scan, head = self.fitted, load_head(self.fitted.head)
        return {**self._head(head, self._posed(), scan.T_camera_head, scan.frames), "told": list(scan.told)}

    def landmarks(self) -> dict:
        """The head model on the landmarks."""
        scan, head = self.calibrated, load_head(self.calibrated.head)
        yaw_deg = torch.rad2deg(relative_orientation(scan.T_camera_head)[:, 1])
        cloud = landmark_cloud(scan.landmarks_px, yaw_deg, scan.K_px.double(), scan.T_camera_world.double())
        neutral, T_head_scan = from_landmarks(head, cloud)
        return self._head(head, neutral, scan.T_camera_world @ invert(T_head_scan), scan.frames)

    def tracked(self) -> dict:
        """The tracker's neutral head."""
        place = self.folder / "track"
        if not (place / "track.json").exists():
            track(self.capture, TrackingConfig(), Silent()).save(place)
        known = Track.load(place)
        head, identity = load_head(known.identity.head), known.identity
        offsets = None if identity.offsets_m is None else identity.offsets_m[None]
        # Its own distances follow its guess of the focal length, so the search begins where the scan's mean head lies.
        scan = self.calibrated
        neutral = head.neutral(identity.coefficients[None], offsets)[0]
        scores = self._head(head, neutral, scan.T_camera_head, scan.frames)
        view, crop = next(iter(known.views.values())), self.capture.views[0].crop
        poses = view.T_camera_world @ known.T_world_head, self.film.T_camera_head
        frontal = relative_orientation(poses[1])[:, 1].rad2deg().abs() < _NEAR_DEG
        found, true = (T[:, :3, :3].double() for T in poses)
        return {name: value for name, value in scores.items() if not name.startswith("unmoved")} | {
            "usable": f"{int(known.usable.sum())}/{known.frames}",
            "frontal_rotation_deg": summary(turn_error_deg(found[frontal], true[frontal])),
            "usable_rotation_deg": summary(turn_error_deg(found[known.usable], true[known.usable])),
            "focal_ratio": round(float(view.K_px[0, 0, 0] / self.film.K_px[0, 0]) * crop.side_px / known.size_px, 3),
        }

    def _truly_calibrated(self) -> Scan:
        scan, crop = self.calibrated, self.capture.views[0].crop
        camera = Camera(self.film.K_px, SIZE_PX, SIZE_PX).window(crop.left_px, crop.top_px, crop.side_px, crop.side_px)
        K_px = camera.resized(self.capture.size_px, self.capture.size_px).K_px.expand(scan.views, 3, 3).clone()
        T = self.film.T_camera_head[scan.frames]
        yaw_deg = torch.rad2deg(relative_orientation(scan.T_camera_head)[:, 1])
        cloud = landmark_cloud(scan.landmarks_px, yaw_deg, K_px.double(), T.double())
        aligned = align(cloud, load_head(scan.head), 1.0)
        return replace(scan, K_px=K_px, T_camera_world=T, T_head_scan=aligned.T_head_world.float())

    def _posed(self) -> Tensor:
        scan, head = self.fitted, load_head(self.fitted.head)
        assert scan.identity is not None and scan.fit is not None
        offsets = None if scan.identity.offsets_m is None else scan.identity.offsets_m[None]
        return head(
            scan.identity.coefficients[None], head.rest()._replace(expression=scan.fit.expression[None]), offsets
        )[0]

    def _head(self, head: HeadModel, posed_m: Tensor, T_camera_head: Tensor, frames: Tensor) -> dict:
        start = from_cameras(self.film.T_camera_head[frames], T_camera_head)
        return judged(self.face, posed_m, skin_triangles(head), start)[0]

    def _surface(self, mesh: RawMesh) -> dict:
        scan = self.calibrated
        start = from_cameras(self.film.T_camera_head[scan.frames], scan.T_camera_world)
        return judged(self.face, mesh.vertices_m, mesh.triangles, start)[0] | {"vertices": len(mesh.vertices_m)}


def _scanned_face(model: Path, film: Filmed) -> TrueFace:
    points, mesh, _ = read_head_scan(model)
    middles = points[mesh.triangles.long()].mean(1)
    face = (middles[:, 1] > CHIN) & (middles[:, 1] < BROW) & (middles[:, 2] > EAR_PLANE)
    there = bust_m(points)
    unit = float((there[0] - there[1]).norm() / (points[0] - points[1]).norm())
    return true_face(there, mesh.triangles, face, (CROWN - CHIN) * unit, film)


if __name__ == "__main__":
    main()
