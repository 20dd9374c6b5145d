"""A small head made by formula: a ball with two eyeballs, for tests that need no real head."""

import math

import torch
from torch import Tensor

from headstudio.heads.arkit import ARKIT_INDEX, ARKIT_NAMES, GAZE_DIRECTIONS, gaze_columns
from headstudio.heads.base import REGIONS, Articulation, HeadData, HeadModel, LandmarkEmbedding

ROWS, COLUMNS = 9, 12
GAZE_FULL_RAD = 0.5


class SmallHead(HeadModel):
    """Its expression units are the ARKit units that are not eyeLook; jawOpen also turns the jaw, eyeLook the eyes."""

    def to_arkit(self, articulation: Articulation) -> Tensor:
        arkit = articulation.expression @ self.expression_to_arkit.T
        for eye in range(2):
            pitch, yaw = articulation.gaze_rad[:, eye, 0], articulation.gaze_rad[:, eye, 1]
            inward = -yaw if eye == 0 else yaw
            for direction, angle in zip(GAZE_DIRECTIONS, (-pitch, pitch, inward, -inward), strict=True):
                arkit[:, gaze_columns(direction)[eye]] = (angle / GAZE_FULL_RAD).clamp(0, 1)
        return arkit

    def from_arkit(self, arkit: Tensor) -> Articulation:
        rest = self.rest(len(arkit))
        gaze = rest.gaze_rad.clone()
        for eye in range(2):
            up, down, inward, outward = (arkit[:, gaze_columns(name)[eye]] for name in GAZE_DIRECTIONS)
            gaze[:, eye, 0] = GAZE_FULL_RAD * (down - up)
            gaze[:, eye, 1] = GAZE_FULL_RAD * (outward - inward) * (1 if eye == 0 else -1)
        jaw = rest.jaw_rad.clone()
        jaw[:, 0] = self.data.jaw_open_rad * arkit[:, ARKIT_INDEX["jawOpen"]]
        return Articulation(arkit @ self.expression_to_arkit, rest.neck_rad, jaw, gaze)


def small_head(seed: int = 0) -> SmallHead:
    """The head; the left eye (of the person, so at +x) is vertex block 1, the right one block 2."""
    ball, triangles, uv, uv_triangles = _ball(0.1)
    eyes = [_ball(0.02)[0] + torch.tensor([side * 0.03, 0.02, 0.085]) for side in (1, -1)]
    template = torch.cat([ball, *eyes])
    count, make = len(ball), torch.Generator().manual_seed(seed)
    expressive = [name for name in ARKIT_NAMES if not name.startswith("eyeLook")]
    to_arkit = torch.stack([torch.eye(52)[ARKIT_INDEX[name]] for name in expressive], dim=1)
    basis = torch.zeros(len(expressive), len(template), 3)
    for unit in range(len(expressive)):  # each moves a patch of the ball, so most displacements are zero
        basis[unit, 2 * unit : 2 * unit + 9] = 0.01 * torch.randn(9, 3, generator=make)
    basis[:, count:] = 0
    masks = {name: torch.zeros(len(template), dtype=torch.bool) for name in REGIONS}
    masks["face"][:count], masks["eyeballs"][count:] = True, True
    masks["eyelashes"][count - 24 : count] = True
    return SmallHead(
        HeadData(
            name="small",
            licence="none",
            template_m=template,
            triangles=torch.cat([triangles + block * count for block in range(3)]),
            uv=uv,
            uv_triangles=uv_triangles.repeat(3, 1),
            identity_basis_m=0.002 * torch.randn(2, len(template), 3, generator=make),
            expression_names=tuple(expressive),
            expression_basis_m=basis,
            expression_to_arkit=to_arkit,
            joint_weights=_joint_weights(template, count),
            skin_weights=_skin_weights(template, count),
            regions=masks,
            landmarks=LandmarkEmbedding(torch.zeros(478, dtype=torch.long), torch.ones(478, 3) / 3, torch.ones(478)),
            jaw_open_rad=0.3,
        )
    )


def _ball(radius_m: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """A ball with a texture seam: its last texture column lies on the vertices of the first."""
    polar = torch.linspace(0.1, math.pi - 0.1, ROWS)[:, None].expand(ROWS, COLUMNS)
    around = (torch.arange(COLUMNS) * 2 * math.pi / COLUMNS)[None].expand(ROWS, COLUMNS)
    points = torch.stack([polar.sin() * around.sin(), polar.cos(), polar.sin() * around.cos()], dim=-1) * radius_m
    grid = torch.stack(torch.meshgrid(torch.linspace(0, 1, COLUMNS + 1), torch.linspace(0, 1, ROWS), indexing="xy"), -1)
    triangles, uv_triangles = [], []
    for row in range(ROWS - 1):
        for column in range(COLUMNS):
            for corners in (((0, 0), (1, 0), (1, 1)), ((0, 0), (1, 1), (0, 1))):
                triangles.append([(row + r) * COLUMNS + (column + c) % COLUMNS for r, c in corners])
                uv_triangles.append([(row + r) * (COLUMNS + 1) + column + c for r, c in corners])
    return points.flatten(0, 1), torch.tensor(triangles), grid.flatten(0, 1), torch.tensor(uv_triangles)


def _joint_weights(template: Tensor, count: int) -> Tensor:
    weights = torch.zeros(5, len(template))
    lowest = template[:count, 1] < -0.09
    for joint in range(2):
        weights[joint, :count] = (lowest if joint == 0 else ~lowest).float()
    weights[2, :count] = 1
    weights[3, count : 2 * count] = 1
    weights[4, 2 * count :] = 1
    return weights / weights.sum(1, keepdim=True)


def _skin_weights(template: Tensor, count: int) -> Tensor:
    """Shoulders blend into the skull, the skull's lower front into the jaw; an eyeball follows its joint alone."""
    y, z = template[:, 1], template[:, 2]
    neck = ((-0.05 - y) / 0.05).clamp(0, 1)
    jaw = (1 - neck) * ((y < 0) & (z > 0)).float() * 0.7
    weights = torch.stack([neck, 1 - neck - jaw, jaw, torch.zeros_like(y), torch.zeros_like(y)], dim=1)
    weights[count : 2 * count] = torch.eye(5)[3]
    weights[2 * count :] = torch.eye(5)[4]
    return weights
