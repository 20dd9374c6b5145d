"""A FLAME file made from MakeHuman's head: another origin, another mean person, other units, a jaw that is a joint.

It has the layout of the original and stands for it where a refit is tested on faces.
"""

from pathlib import Path

import numpy as np
import torch

from headstudio.heads import load_head
from headstudio.heads.arkit import ARKIT_INDEX, ARKIT_NAMES
from headstudio.heads.base import JOINTS, HeadModel

IDENTITIES, EXPRESSIONS = 60, 20
SHIFT_M = (0.01, -0.15, 0.02)
"""Where the middle between the eyes lies in the file's own frame."""
_KEPT = ("face", "eyelids", "eyeballs", "nose", "lips", "ears", "scalp", "neck")
_UNITS = (
    "mouthSmileLeft", "mouthSmileRight", "mouthPucker", "mouthFunnel", "mouthLeft", "mouthRight", "mouthFrownLeft",
    "mouthFrownRight", "browInnerUp", "browDownLeft", "browDownRight", "browOuterUpLeft", "browOuterUpRight",
    "eyeBlinkLeft", "eyeBlinkRight", "eyeWideLeft", "eyeWideRight", "cheekPuff", "noseSneerLeft", "noseSneerRight",
)  # fmt: skip


def kept_vertices(head: HeadModel) -> np.ndarray:
    """MakeHuman's vertices that the file has, in its order."""
    return np.flatnonzero((head.region(*_KEPT) & ~head.region("eyelashes", "teeth", "tongue")).numpy())


def makehuman_as_flame(path: Path) -> Path:
    """Write the file."""
    head = load_head()
    kept = kept_vertices(head)
    lookup = np.full(head.vertices, -1)
    lookup[kept] = np.arange(len(kept))
    triangles = lookup[head.triangles.numpy()]
    make = torch.Generator().manual_seed(2)
    mean = head.neutral(0.7 * torch.randn(1, head.identities, generator=make))[0].numpy()[kept]
    weights = _weights(head)[kept]
    regressor = np.zeros((5, len(kept)))
    for joint, place in enumerate(head.joint_weights.numpy() @ head.template_m.numpy()):
        near = np.argsort(np.linalg.norm(mean - place, axis=1))[:200]
        system = np.concatenate([mean[near].T, np.ones((1, len(near)))])
        regressor[joint, near] = np.linalg.pinv(system) @ np.append(place, 1.0)
    for side in ("eye_left", "eye_right"):
        own = weights[:, JOINTS.index(side)] > 0.5
        regressor[JOINTS.index(side)] = own / own.sum()
    units = [ARKIT_INDEX[name] for name in _UNITS]
    assert len(units) == EXPRESSIONS and len(ARKIT_NAMES) == head.expressions
    identities = head.identity_basis_m[:IDENTITIES]
    shapes = torch.cat([identities, head.expression_basis_m[units]]).numpy()[:, kept]
    np.savez(
        path,
        v_template=mean + np.array(SHIFT_M),
        f=triangles[(triangles >= 0).all(1)].astype(np.uint32),
        shapedirs=np.moveaxis(shapes, 0, 2),
        J_regressor=regressor,
        weights=weights / weights.sum(1, keepdims=True),
        posedirs=np.zeros((len(kept), 3, 36)),
        kintree_table=np.array([[4294967295, 0, 1, 1, 1], [0, 1, 2, 3, 4]]),
    )
    return path


def _weights(head: HeadModel) -> np.ndarray:
    """MakeHuman's, with a jaw that carries the lower lip, as FLAME's does: the share that makes a turn of the jaw move
    every vertex as far as the unit jawOpen does."""
    weights = head.skin_weights.double().numpy()
    jaw = JOINTS.index("jaw")
    arm = np.linalg.norm((head.template_m - head.joints(head.template_m[None])[0, jaw]).numpy()[:, 1:], axis=1)
    moved = head.expression_basis_m[ARKIT_INDEX["jawOpen"]].norm(dim=1).numpy()
    share = np.clip(moved / (0.4 * np.maximum(arm, 0.01)), 0, 1) * weights[:, :3].sum(1)
    rest = weights[:, :2] / np.maximum(weights[:, :2].sum(1, keepdims=True), 1e-9)
    weights[:, jaw] = share
    weights[:, :2] = rest * (1 - weights[:, jaw:].sum(1, keepdims=True))
    return weights
