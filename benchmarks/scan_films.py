"""Films of clip A with known cameras: synthetic actors, and a real head scan on a chair."""

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import avg_pool2d

from head_scan import read_head_scan
from headstudio import storage
from headstudio.geometry.camera import Camera
from headstudio.geometry.rigid import transform
from headstudio.heads import load_head
from headstudio.render.mesh import render_surface
from headstudio.synth.config import SynthConfig
from headstudio.synth.eyes import IRIS_SHARE
from headstudio.synth.noise import fractal_noise
from headstudio.synth.rigid import RigidMesh
from headstudio.synth.stage import Stage
from headstudio.synth.sweep import SweepConfig, SweepMode, make_sweep, sweep_poses
from headstudio.synth.truth import Truth
from headstudio.synth.video import VideoFormat, write_video

SIZE_PX, FPS, SECONDS = 720, 3.0, 16.0
_SUPERSAMPLING = 2
_SCAN_HEIGHT_M, _EYES_FROM_MIDDLE = 0.42, (0.0, 0.22, 0.36)
"""Height of the bust, whose file states no unit (scores are taken after a similarity), and place of its eyes in
its box."""


@dataclass(frozen=True)
class Filmed:
    """A clip with the truth about its cameras."""

    video: Path
    K_px: Float[Tensor, "3 3"]
    T_camera_head: Float[Tensor, "frames 4 4"]
    iris_m: float | None
    """Diameter of the iris in the truth's unit; None where the eyes are shut."""
    neutral_m: Float[Tensor, "vertices 3"] | None = None
    """The true head, where it is of the default head's topology."""


def actor(folder: Path, seed: int, mode: SweepMode) -> Filmed:
    """A synthetic actor's clip A, rendered where it is not there yet."""
    place = folder / f"actor{seed}-{mode}"
    config = _config(seed)
    if not (place / "truth.json").exists():
        make_sweep(place, config, SweepConfig(mode=mode))
    truth, head = Truth.load(place), load_head(config.head)
    joints = head.joints(truth.neutral_m[None])[0]
    iris_m = IRIS_SHARE * float((joints[3] - joints[4]).norm())
    return Filmed(place / "actor.mp4", truth.K_px[0], truth.T_camera_head, iris_m, truth.neutral_m)


def hair_of(seed: int) -> RigidMesh | None:
    """What an actor's hair covers in the head frame; the film's own."""
    return Stage.build(_config(seed)).hair


def _config(seed: int) -> SynthConfig:
    return SynthConfig(
        seed=seed, seconds=SECONDS, fps=FPS, width_px=SIZE_PX, height_px=SIZE_PX, head_share=0.62, audio=False
    )


def head_scan(folder: Path, model: Path) -> Filmed:
    """The head scan in `model` (OBJ and colour map) turned before a camera, rendered where it is not there yet."""
    place = folder / model.name
    times_s = torch.arange(round(FPS * SECONDS), dtype=torch.float64) / FPS
    camera = Camera.from_focal(1.39 * SIZE_PX, SIZE_PX, SIZE_PX)
    facing = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0]))
    facing[:3, 3] = torch.tensor([0.0, 0.02, 0.62])
    poses = sweep_poses(facing, times_s, SweepConfig(), seed=5)
    if not (place / "clip.mp4").exists():
        bust = _Bust(model)
        with storage.replacing_folder(place) as building:
            form = VideoFormat(SIZE_PX, SIZE_PX, FPS)
            write_video(building / "clip.mp4", (bust.picture(T, camera) for T in poses), times_s, form, None)
    return Filmed(place / "clip.mp4", camera.K_px, poses, None)


def bust_m(points: Tensor) -> Tensor:
    """Points of the head scan, given in its file's unit, in the head frame of its film."""
    low, high = points.amin(0), points.amax(0)
    middle = (low + high) / 2 + torch.tensor(_EYES_FROM_MIDDLE) * (high - low)
    return (points - middle) * (_SCAN_HEIGHT_M / float(high[1] - low[1]))


class _Bust:
    """The textured scan in the head frame: y up, face to +z, origin near the eyes."""

    def __init__(self, model: Path) -> None:
        points, self.mesh, self.texture = read_head_scan(model)
        self.points_m = bust_m(points)
        self.light = _light()
        self.wall = _wall()

    @torch.inference_mode()
    def picture(self, T_camera_head: Tensor, camera: Camera) -> Tensor:
        """One frame."""
        fine = camera.resized(SIZE_PX * _SUPERSAMPLING, SIZE_PX * _SUPERSAMPLING)
        fine = replace(fine, K_px=fine.K_px[None])
        vertices = transform(T_camera_head, self.points_m)[None]
        seen = render_surface(vertices, self.mesh, fine, self.texture, self.light)
        image = avg_pool2d(seen.image * seen.mask, _SUPERSAMPLING)
        alpha = avg_pool2d(seen.mask, _SUPERSAMPLING)
        mixed = (image + (1.0 - alpha) * self.wall)[0]
        noise = torch.randn(mixed.shape, generator=torch.Generator().manual_seed(int(T_camera_head[0, 2] * 1e6)))
        return ((mixed + 0.006 * noise).clamp(0, 1).permute(1, 2, 0) * 255.0).round().byte()


def _light() -> Float[Tensor, "1 9 3"]:
    """A bright side and a dark one, in camera axes: they stand while the head turns."""
    light = torch.zeros(1, 9, 3)
    light[:, 0] = 0.85 / 0.28209479177387814
    light[:, 1], light[:, 2], light[:, 3] = -0.2 / 0.4886, -0.15 / 0.4886, 0.22 / 0.4886
    return light


def _wall() -> Float[Tensor, "1 3 height width"]:
    axis = torch.linspace(-1, 1, SIZE_PX)
    x, y = torch.meshgrid(axis, axis, indexing="xy")
    grain = fractal_noise(torch.stack([x, y, 0 * x], dim=-1).reshape(-1, 3), 0.3, 3, 4, 0.6).reshape(x.shape)
    return (0.55 + 0.08 * x + 0.05 * grain).expand(1, 3, SIZE_PX, SIZE_PX).clamp(0, 1)
