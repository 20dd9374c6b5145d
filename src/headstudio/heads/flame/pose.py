"""How FLAME's makers place a head in the world, and how that translates to the skull's frame of `HeadModel`.

FLAME turns the whole mesh about its root joint, everything above the neck about the neck joint, and moves it (Li et
al. 2017). Joints follow from the expressed, unposed vertices. A point x of the skull in FLAME's own frame therefore
goes to R_root (R_neck (x - neck) + neck - root) + root + translation.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import roma
import torch
from jaxtyping import Float
from torch import Tensor

from headstudio.geometry.rigid import from_rotation
from headstudio.heads.base import HeadModel
from headstudio.heads.flame.files import read_arrays

_ROOT, _NECK, _EYES = 0, 1, [3, 4]


@dataclass(frozen=True)
class FlameRoot:
    """The two joints of FLAME that `HeadModel` has no use for, as functions of the face."""

    origin_m: Float[Tensor, "3"]
    """Origin of the head frame in FLAME's own frame."""
    weights: Float[Tensor, "2 vertices"]
    """Regressors of root and neck."""

    @classmethod
    def load(cls, path: str | Path | None = None) -> "FlameRoot":
        """From the user's FLAME file, named as for `headstudio.heads.flame.load`."""
        arrays = read_arrays(Path(path or os.environ["HEADSTUDIO_FLAME"]))
        points, regressor = (torch.from_numpy(arrays[name]).float() for name in ("v_template", "J_regressor"))
        return cls((regressor[_EYES] @ points).mean(0), regressor[[_ROOT, _NECK]])

    def joints(
        self, head: HeadModel, neutral_m: Float[Tensor, "vertices 3"], expression: Float[Tensor, "frames expressions"]
    ) -> Float[Tensor, "frames 2 3"]:
        """Root and neck of expressed faces, in FLAME's own frame."""
        at_rest = self.weights @ (neutral_m + self.origin_m)
        moved = torch.einsum("jv,evk->ejk", self.weights, head.expression_basis_m)
        return at_rest + torch.einsum("fe,ejk->fjk", expression, moved)

    def T_world_head(
        self,
        root_rad: Float[Tensor, "frames 3"],
        neck_rad: Float[Tensor, "frames 3"],
        translation_m: Float[Tensor, "frames 3"],
        joints_m: Float[Tensor, "frames 2 3"],
    ) -> Float[Tensor, "frames 4 4"]:
        """The pose of the skull from FLAME's parameters."""
        rotation = roma.rotvec_to_rotmat(root_rad) @ roma.rotvec_to_rotmat(neck_rad)
        return from_rotation(rotation, translation_m + self._carried(root_rad, neck_rad, joints_m))

    def placed(
        self,
        T_world_head: Float[Tensor, "frames 4 4"],
        neck_rad: Float[Tensor, "frames 3"],
        joints_m: Float[Tensor, "frames 2 3"],
    ) -> tuple[Float[Tensor, "frames 3"], Float[Tensor, "frames 3"]]:
        """Root rotation vectors and translations that give the skull a pose, for known neck rotations."""
        root = T_world_head[:, :3, :3] @ roma.rotvec_to_rotmat(neck_rad).transpose(1, 2)
        root_rad = roma.rotmat_to_rotvec(root)
        return root_rad, T_world_head[:, :3, 3] - self._carried(root_rad, neck_rad, joints_m)

    def _carried(self, root_rad: Tensor, neck_rad: Tensor, joints_m: Tensor) -> Float[Tensor, "frames 3"]:
        """Where the two rotations alone take the head frame's origin."""
        root, neck = joints_m.unbind(1)
        turned = _apply(neck_rad, self.origin_m - neck) + neck
        return _apply(root_rad, turned - root) + root


def _apply(rotvec_rad: Tensor, vectors: Tensor) -> Tensor:
    return (roma.rotvec_to_rotmat(rotvec_rad) @ vectors[..., None])[..., 0]
