"""One view against three: synthetic films of three cameras through the command line's own calls, against their truth.

    python benchmarks/multi_view.py --output out/multi_view --seeds 301 401

Films, captures, tracks and rows are kept when they are done, so the command goes on where it stopped. `table.md` holds
what docs/multi-view.md quotes.
"""

import argparse
import json
import os
import time
from pathlib import Path

import roma
import torch
from torch import Tensor

from headstudio import storage
from headstudio.capture.config import IngestConfig
from headstudio.capture.ingest import ingest
from headstudio.capture.rig_cameras import RigCamera as KnownCamera
from headstudio.capture.rig_cameras import write_cameras
from headstudio.capture.rig_ingest import ingest_views
from headstudio.heads import load_head
from headstudio.records.capture import Capture
from headstudio.records.track import Track
from headstudio.synth.config import SynthConfig
from headstudio.synth.rig import RigCamera, SyntheticRig, make_rig
from headstudio.synth.truth import Truth
from headstudio.tracking.config import PhotometricConfig, TrackingConfig
from headstudio.tracking.tracker import track
from tracking_scores import Pair, surface_errors_mm, turn_error_deg

SCHEMA, VERSION = "headstudio.benchmark.multi-view", 1
DATA = Path(__file__).parents[2] / "shared" / "data"
FRONT = "front"
CAMERAS = (RigCamera("left", -35.0, 0.237), RigCamera(FRONT, 0.0, 0.1), RigCamera("right", 35.0, 0.019))
"""Clocks of 0.137 s and -0.081 s against the front's."""
_FILM = SynthConfig(seconds=10.0, fps=25.0, width_px=512, height_px=512, crf=23, focal_mm=50.0)
WAYS = ("one view", "three views", "three known cameras")


def rig_of(folder: Path, seed: int, head: str) -> SyntheticRig:
    """The films of an actor, made where they are not there yet."""
    place = folder / "films"
    if not (place / "rig.json").exists():
        make_rig(place, SynthConfig(**{**vars(_FILM), "seed": seed, "head": head}), CAMERAS)
    return SyntheticRig.load(place)


def capture_of(folder: Path, rig: SyntheticRig, way: str, config: IngestConfig) -> Capture:
    """The capture of a way of filming, ingested where it is not there yet."""
    place = folder / way.replace(" ", "_")
    if not (place / "capture.json").exists():
        if way == WAYS[0]:
            ingest(rig.videos[[camera.name for camera in rig.cameras].index(FRONT)], place, config)
        else:
            known = _known(folder, rig) if way == WAYS[2] else None
            ingest_views(_named(folder, rig), place, config, known)
    return Capture.load(place)


def track_of(capture: Capture, config: TrackingConfig) -> tuple[Track, float | None]:
    """The track, and the processor seconds it took where it was made now."""
    place, seconds = capture.path / "track", None
    if not (place / "track.json").exists():
        start = time.process_time()
        track(capture, config).save(place)
        seconds = time.process_time() - start
    return Track.load(place), seconds


def scores(capture: Capture, found: Track, rig: SyntheticRig) -> dict:
    """Errors of one track by name."""
    truth = Truth.load(rig.path / FRONT)
    pair = Pair(found, truth, capture, load_head(found.identity.head), load_head(truth.head))
    turns, surface = turn_error_deg(*pair.turns), surface_errors_mm(pair)["posed"]
    row = {"rotation_deg": _spread(turns), "surface_mm": _spread(surface.flatten()), **_place(pair)}
    row["focal"] = _focal(capture, found, 0) / float(truth.K_px[0, 0, 0])
    row["cameras"] = [_camera(capture, found, rig, index, truth) for index in range(1, len(capture.views))]
    return row


def _named(folder: Path, rig: SyntheticRig) -> list[Path]:
    """The films under names of their own, as cameras would give them."""
    places = []
    for camera, video in zip(rig.cameras, rig.videos, strict=True):
        place = folder / f"{camera.name}.mp4"
        if not place.exists():
            place.hardlink_to(video)
        places.append(place)
    return places


def _known(folder: Path, rig: SyntheticRig) -> Path:
    cameras = []
    for camera, T in zip(rig.cameras, rig.T_camera_world, strict=True):
        truth = Truth.load(rig.path / camera.name)
        cameras.append(KnownCamera(truth.width_px, truth.height_px, truth.K_px[0].double().numpy(), T.double().numpy()))
    write_cameras(folder / "cameras.json", cameras)
    return folder / "cameras.json"


def _place(pair: Pair) -> dict:
    """Where the head is in the first camera: of the landmarks' middle, as it comes and after one scale of the clip."""
    frames = torch.arange(0, pair.track.frames, 5)
    shared = (pair.actor.landmark_weight * pair.fitted.landmark_weight) > 0
    rows = pair.rows[frames]
    true = _middle(
        pair.actor.landmark_points(pair.truth.vertices_m[rows].float()), shared, pair.truth.T_camera_head[rows]
    )
    found = _middle(pair.fitted.landmark_points(pair.posed(frames).float()), shared, pair.track.T_world_head[frames])
    scale = (true * found).sum() / (found * found).sum()
    left_mm = (scale * (found - found.mean(0)) - (true - true.mean(0))) * 1000
    return {
        "distance": float((found[:, 2] / true[:, 2]).median()),
        "depth_rms_mm": float(left_mm[:, 2].square().mean().sqrt()),
        "sideways_rms_mm": float(left_mm[:, :2].square().sum(1).mean().sqrt()),
    }


def _middle(points_m: Tensor, shared: Tensor, T_camera_head: Tensor) -> Tensor:
    points, T = points_m[:, shared].double(), T_camera_head.double()
    return (points @ T[:, :3, :3].transpose(1, 2) + T[:, None, :3, 3]).mean(1)


def _camera(capture: Capture, found: Track, rig: SyntheticRig, index: int, truth: Truth) -> dict:
    """A further camera against the truth: as ingest found it and as tracking refined it."""
    view, names = capture.views[index], [camera.name for camera in rig.cameras]
    own = next(i for i, name in enumerate(names) if name in view.name)
    front = names.index(FRONT)
    true = rig.T_camera_world[own].double() @ torch.linalg.inv(rig.T_camera_world[front].double())
    assert view.T_camera_world is not None
    tracked = found.views[view.name].T_camera_world.double().mean(0)
    own_clock_s = view.clock_offset_s - view.source.start_s
    offset_s = own_clock_s - (capture.views[0].clock_offset_s - capture.views[0].source.start_s)
    wanted_s = rig.cameras[own].starts_s - rig.cameras[front].starts_s
    return {
        "name": names[own],
        "clock_ms": 1000 * (offset_s - wanted_s),
        "ingested": _apart(view.T_camera_world.double(), true),
        "tracked": _apart(tracked, true),
        "focal": _focal(capture, found, index) / float(truth.K_px[0, 0, 0]),
    }


def _apart(T: Tensor, true: Tensor) -> dict:
    rotation = roma.special_procrustes(T[:3, :3])
    assert isinstance(rotation, Tensor)
    turn = roma.rotmat_geodesic_distance(rotation[None], true[None, :3, :3])
    cosine = torch.nn.functional.cosine_similarity(T[:3, 3], true[:3, 3], dim=0).clamp(-1, 1)
    return {
        "turn_deg": float(turn.rad2deg()),
        "direction_deg": float(cosine.acos().rad2deg()),
        "length": float(T[:3, 3].norm() / true[:3, 3].norm()),
    }


def _focal(capture: Capture, found: Track, index: int) -> float:
    view = capture.views[index]
    return float(found.views[view.name].K_px[0, 0, 0]) * view.crop.side_px / capture.size_px


def _spread(values: Tensor) -> list[float]:
    return [float(values.median()), float(values.double().quantile(0.95))]


def table(rows: list[dict]) -> str:
    """What the docs quote."""
    lines = [
        "| actor | filmed | rotation deg, median / p95 | face mm | distance | depth mm | sideways mm | f |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        turn, face = row["rotation_deg"], row["surface_mm"]
        numbers = f"{turn[0]:.2f} / {turn[1]:.2f} | {face[0]:.2f} | {row['distance']:.3f} | {row['depth_rms_mm']:.2f}"
        lines.append(
            f"| {row['actor']} | {row['way']} | {numbers} | {row['sideways_rms_mm']:.2f} | {row['focal']:.2f} |"
        )
    lines += [
        "",
        "| actor | filmed | camera | clock ms | ingested: turn, direction deg | tracked | f |",
        "|---|---|---|---:|---:|---:|---:|",
    ]
    for row in rows:
        for camera in row["cameras"]:
            found = [
                f"{camera[key]['turn_deg']:.2f}, {camera[key]['direction_deg']:.2f}" for key in ("ingested", "tracked")
            ]
            who = f"| {row['actor']} | {row['way']} | {camera['name']} | {camera['clock_ms']:.3f}"
            lines.append(f"{who} | {found[0]} | {found[1]} | {camera['focal']:.2f} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Film, ingest, track, score, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("out/multi_view"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[301, 401])
    parser.add_argument("--head", default="ict", help="the actors' family")
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=WAYS)
    parser.add_argument("--fps", type=float, help="keep this many frames a second; all when not given")
    parser.add_argument("--landmarks-only", action="store_true", help="leave the pictures out of the fit")
    parser.add_argument("--ict", type=Path, default=DATA / "models" / "ict_facekit.npz", help="ICT-FaceKit's file")
    options = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", torch.get_num_threads())))
    if options.ict.exists():
        os.environ["HEADSTUDIO_ICT"] = str(options.ict.resolve())
    config = TrackingConfig(photometric=PhotometricConfig(enabled=not options.landmarks_only))
    rows = []
    for seed in options.seeds:
        folder = options.output / f"{options.head}{seed}"
        rig = rig_of(folder, seed, options.head)
        for way in options.ways:
            capture = capture_of(folder, rig, way, IngestConfig(fps=options.fps))
            where = capture.path / "row.json"
            if not where.exists():
                found, seconds = track_of(capture, config)
                row = {"actor": f"{options.head} {seed}", "way": way, "cpu_s": seconds, **scores(capture, found, rig)}
                storage.write_json(where, SCHEMA, VERSION, row)
                print(json.dumps(row), flush=True)
            rows.append(storage.read_json(where, SCHEMA, VERSION))
    with storage.replacing_file(options.output / "table.md") as building:
        building.write_text(table(rows), encoding="utf-8")
    print(table(rows))


if __name__ == "__main__":
    main()
