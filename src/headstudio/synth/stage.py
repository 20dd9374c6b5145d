"""Everything of one recording before it is rendered: who, what, where, in which light."""

from dataclasses import dataclass, replace

import roma
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from headstudio.geometry.rigid import from_rotation
from headstudio.heads import load_head
from headstudio.heads.base import JOINTS, Articulation, HeadModel
from headstudio.synth.config import SynthConfig
from headstudio.synth.fields import Anatomy, measure
from headstudio.synth.hair import grow
from headstudio.synth.lashes import Lashes, grow_lashes
from headstudio.synth.lens import Lens
from headstudio.synth.light import Light
from headstudio.synth.performance import Performance
from headstudio.synth.person import SyntheticPerson
from headstudio.synth.rigid import RigidMesh
from headstudio.synth.torso import dress
from headstudio.synth.unrigged import Unrigged

TORSO_SHARE = 0.15
"""Part of a head turn that the shoulders take."""

_FACING = torch.diag(torch.tensor([1.0, -1.0, -1.0]))
"""Room axes (x right, y up, z towards the camera) to camera axes (x right, y down, z forward)."""


@dataclass(frozen=True)
class Stage:
    """An actor in front of a camera. Tensors per frame have one row a frame of the performance."""

    config: SynthConfig
    head: HeadModel
    person: SyntheticPerson
    performance: Performance
    lens: Lens
    light: Light
    neutral_m: Float[Tensor, "vertices 3"]
    anatomy: Anatomy
    lashes: Lashes | None
    hair: RigidMesh | None
    shirt: RigidMesh
    articulation: Articulation
    T_camera_head: Float[Tensor, "frames 4 4"]
    undrawn: Bool[Tensor, " triangles"] | None = None
    """Triangles of the head that are not drawn, as those that a shirt covers."""
    unrigged: Unrigged | None = None
    """What the skin does beside all that the head model can."""

    @classmethod
    def build(cls, config: SynthConfig, head: HeadModel | None = None) -> "Stage":
        """Set the stage of a configuration; `head` spares loading the model anew."""
        head = load_head(config.head) if head is None else head
        person = SyntheticPerson.sample(config.seed, head, config.identity_spread, config.displacement_mm)
        neutral = person.neutral(head)
        anatomy = measure(head, neutral)
        performance = Performance.sample(config.seed, config.seconds, config.fps, config.variable_rate)
        lens = Lens.of(config)
        neck_rad, T_camera_head = _poses(performance, _neck_joint(head, neutral), anatomy, lens, config.head_share)
        articulation = head.from_arkit(performance.arkit)._replace(neck_rad=neck_rad)
        hair = grow(head, neutral, anatomy, person.looks.hair_style, config.strands, config.seed)
        lashes = grow_lashes(head, neutral, anatomy, config.seed)
        light = Light.sample(config.seed if config.light_seed is None else config.light_seed)
        shirt = dress(head, neutral, config.seed)
        return cls(
            config,
            head,
            person,
            performance,
            lens,
            light,
            neutral,
            anatomy,
            lashes,
            hair,
            shirt,
            articulation,
            T_camera_head,
        )

    def beyond_the_rig(self) -> "Stage":
        """The same actor in the same performance, whose skin also does what no rig has."""
        found = Unrigged.of(self.head, self.neutral_m, self.anatomy, self.performance.times_s)
        return replace(self, unrigged=found)

    def performing(self, performance: Performance) -> "Stage":
        """The same actor in the same place, who does something else."""
        pivot = _neck_joint(self.head, self.neutral_m)
        neck_rad, T_camera_head = _poses(performance, pivot, self.anatomy, self.lens, self.config.head_share)
        articulation = self.head.from_arkit(performance.arkit)._replace(neck_rad=neck_rad)
        moved = replace(self, performance=performance, articulation=articulation, T_camera_head=T_camera_head)
        return moved if self.unrigged is None else moved.beyond_the_rig()

    def articulated(self, frame: int) -> Articulation:
        """The state of one frame, batched by one."""
        return Articulation(*(values[frame : frame + 1] for values in self.articulation))

    def head_vertices(self, frame: int) -> Float[Tensor, "vertices 3"]:
        """The posed head of one frame in the head frame."""
        neutral_m = self.neutral_m if self.unrigged is None else self.neutral_m + self.unrigged.at(frame)
        return self.head.pose(neutral_m[None], self.articulated(frame))[0]

    def shoulders(self, frame: int, points_m: Float[Tensor, "points 3"]) -> Float[Tensor, "points 3"]:
        """Points that are rigid with the shoulders, in the skull's frame."""
        pivot = _neck_joint(self.head, self.neutral_m)
        return (points_m - pivot) @ roma.rotvec_to_rotmat(self.articulation.neck_rad[frame]) + pivot


def _neck_joint(head: HeadModel, neutral_m: Tensor) -> Tensor:
    return head.joints(neutral_m[None])[0, JOINTS.index("neck")]


def _poses(
    performance: Performance, pivot_m: Tensor, anatomy: Anatomy, lens: Lens, head_share: float
) -> tuple[Tensor, Tensor]:
    turn = performance.turn_rad
    torso = _rotation(turn * torch.tensor([0.0, TORSO_SHARE, TORSO_SHARE]))
    whole = _rotation(turn)
    neck_rad = roma.rotmat_to_rotvec(torso.transpose(-1, -2) @ whole)
    focal_px = float(lens.camera.K_px[1, 1])
    tall = anatomy.crown_y_m - anatomy.chin_y_m
    distance = focal_px * tall / (head_share * lens.camera.height_px)
    # The head's middle is a little above the picture's, which leaves room for the shoulders.
    middle = torch.tensor([0.0, (anatomy.crown_y_m + anatomy.chin_y_m) / 2 - 0.16 * tall, 0.05])
    pivot = pivot_m.double() - middle.double()
    place = pivot + performance.shift_m - (whole @ pivot_m.double())
    away = torch.tensor([0.0, 0.0, distance], dtype=torch.float64)
    facing = _FACING.double()
    T_camera_head = from_rotation(facing @ whole, place @ facing.T + away)
    return neck_rad.float(), T_camera_head.float()


def _rotation(turn_rad: Tensor) -> Tensor:
    """Yaw first, then pitch, then roll, each about the head's own axis."""
    return roma.euler_to_rotmat("YXZ", turn_rad[:, [1, 0, 2]])
