"""The truth beside a synthetic recording: what a tracker, a method or a metric is checked against."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from headstudio import storage
from headstudio.errors import HeadstudioError
from headstudio.geometry.rigid import transform
from headstudio.synth.stage import Stage
from headstudio.synth.video import quantised

SCHEMA, VERSION = "headstudio.truth", 1


@dataclass(frozen=True)
class Truth:
    """What really happened in a synthetic clip. Tensors with `frames` have one row a frame of the video."""

    head: str
    """Name of the head model that the actor was made from."""
    width_px: int
    height_px: int
    distortion: float
    """Radial distortion k1 of the lens; `K_px` alone projects exactly only where this is 0."""
    times_s: Float[Tensor, " frames"]
    """Presentation times, float64."""
    K_px: Float[Tensor, "frames 3 3"]
    """Intrinsics in pixels of the upright video."""
    T_camera_head: Float[Tensor, "frames 4 4"]
    arkit: Float[Tensor, "frames 52"]
    expression: Float[Tensor, "frames expressions"]
    """Coefficients of the head model's own units."""
    neck_rad: Float[Tensor, "frames 3"]
    jaw_rad: Float[Tensor, "frames 3"]
    gaze_rad: Float[Tensor, "frames 2 3"]
    identity: Float[Tensor, " identities"]
    """Coefficients in prior standard deviations."""
    identity_offsets_m: Float[Tensor, "vertices 3"]
    neutral_m: Float[Tensor, "vertices 3"]
    """The neutral face in the head frame."""
    vertices_m: Float[Tensor, "frames vertices 3"]
    """The posed head in the head frame; half precision, which resolves 0.1 mm."""
    landmarks_px: Float[Tensor, "frames 478 2"]
    """The detector's landmarks where the head model has them, else NaN; in pixels of the upright video."""
    light_sh: Float[Tensor, "9 3"]
    """All light as unshadowed irradiance in camera axes, linear."""
    blinks_s: Float[Tensor, " blinks"]
    """Times of full lid closure."""
    closures_s: Float[Tensor, " closures"]
    """Times of full lip closure in speech."""

    def save(self, folder: Path, config: dict) -> None:
        """Write truth.json and truth.safetensors into a folder; `config` is kept for whoever wants the clip again."""
        tensors = {name: value for name, value in vars(self).items() if isinstance(value, Tensor)}
        storage.write_tensors(folder / "truth.safetensors", tensors)
        plain = {name: value for name, value in vars(self).items() if not isinstance(value, Tensor)}
        storage.write_json(folder / "truth.json", SCHEMA, VERSION, {**plain, "config": config})

    @classmethod
    def load(cls, folder: Path | str) -> "Truth":
        """Read what `save` wrote."""
        where = Path(folder) / "truth.json"
        content = storage.read_json(where, SCHEMA, VERSION)
        tensors = storage.read_tensors(where.with_name("truth.safetensors"), set(_TENSORS))
        try:
            fields: dict[str, Any] = {name: content[name] for name in ("head", "width_px", "height_px", "distortion")}
        except KeyError as error:
            raise HeadstudioError(f"the truth lacks {error}", where=where, next_step="make the actor again") from None
        fields.update({name: tensors[name] for name in _TENSORS})
        return cls(**fields)


_TENSORS = tuple(name for name, kind in Truth.__annotations__.items() if kind not in (str, int, float))


def tell(stage: Stage) -> Truth:
    """Collect the truth of a stage."""
    frames = len(stage.performance)
    vertices = torch.stack([stage.head_vertices(frame) for frame in range(frames)])
    state, lens = stage.articulation, stage.lens
    return Truth(
        head=stage.head.name,
        width_px=lens.camera.width_px,
        height_px=lens.camera.height_px,
        distortion=lens.distortion,
        times_s=quantised(stage.performance.times_s),
        K_px=lens.camera.K_px.expand(frames, 3, 3).clone(),
        T_camera_head=stage.T_camera_head,
        arkit=stage.performance.arkit,
        expression=state.expression,
        neck_rad=state.neck_rad,
        jaw_rad=state.jaw_rad,
        gaze_rad=state.gaze_rad,
        identity=stage.person.identity,
        identity_offsets_m=stage.person.offsets_m,
        neutral_m=stage.neutral_m,
        vertices_m=vertices.half(),
        landmarks_px=_landmarks(stage, vertices),
        light_sh=stage.light.harmonics(),
        blinks_s=torch.tensor(stage.performance.blinks_s, dtype=torch.float64),
        closures_s=torch.tensor(stage.performance.closures_s, dtype=torch.float64),
    )


def config_json(stage: Stage) -> dict:
    """The configuration and looks as JSON."""
    return {**asdict(stage.config), "looks": asdict(stage.person.looks)}


def _landmarks(stage: Stage, vertices: Tensor) -> Tensor:
    points = transform(stage.T_camera_head, stage.head.landmark_points(vertices))
    known = stage.head.landmark_weight > 0
    return torch.where(known[:, None], stage.lens.project(points), torch.nan)
