"""Keep eyeballs round and in their sockets, teeth behind the lips and lashes on the lids, whatever the identity.

All of it is linear in the skin's displacement, so that it can be baked into the identity basis. Shapes are
(columns, vertices, 3) displacements in decimetres.
"""

import numpy as np
from scipy.spatial import KDTree

from headstudio.heads.makehuman.parts import HeadCut, sockets

_LID_DEPTH_DM = 0.035
"""Skin this close to the eyeball's surface is lid that lies on it."""
_EYE_SIZE_PRIOR = 4.0
"""How strongly an eyeball keeps its size: real eyeballs hardly differ, eye openings do."""
_EYE_SHIFT_PRIOR = 0.05
"""How strongly an eyeball follows its lids' mean where their contact says nothing."""


def round_eyes(columns: np.ndarray, cut: HeadCut, middle_dm: np.ndarray) -> np.ndarray:
    """Replace the eyeballs' own motion by the translation and uniform scale nearest to it."""
    result = columns.copy()
    for side in ("eye_left", "eye_right"):
        eye = cut.parts[side]
        arms = middle_dm[eye] - middle_dm[eye].mean(0)
        shift = columns[:, eye].mean(1)
        growth = ((columns[:, eye] - shift[:, None]) * arms).sum((1, 2)) / (arms**2).sum()
        result[:, eye] = shift[:, None] + growth[:, None, None] * arms
    return result


def refit_parts(columns: np.ndarray, cut: HeadCut, middle_dm: np.ndarray) -> np.ndarray:
    """Make the inner parts follow the skin; the artists' local targets leave most of them behind."""
    result = columns.copy()
    for side in ("eye_left", "eye_right"):
        result[:, cut.parts[side]] = _follow_lids(columns, cut, middle_dm, cut.parts[side])
    for part in ("teeth_upper", "teeth_lower", "tongue"):
        result[:, cut.parts[part]] = _follow_walls(columns, cut, middle_dm, cut.parts[part])
    lash = cut.parts["lashes"]
    result[:, lash] = _follow_nearest(columns, cut, middle_dm, lash)
    return result


def without_rigid_motion(columns: np.ndarray, middle_dm: np.ndarray, still: np.ndarray) -> np.ndarray:
    """Remove the translation and small rotation that move the marked vertices least in all; size differences stay."""
    everywhere, marked = _rigid_fields(middle_dm), _rigid_fields(middle_dm[still])
    moved = columns[:, still].reshape(len(columns), -1)
    motion = moved @ np.linalg.pinv(marked.reshape(6, -1))
    return columns - np.tensordot(motion, everywhere, axes=1)


def _rigid_fields(points: np.ndarray) -> np.ndarray:
    """(6, points, 3): the displacements of a unit translation along, and a small rotation about, each axis."""
    shifts = np.broadcast_to(np.eye(3)[:, None], (3, len(points), 3))
    turns = np.stack([np.cross(axis, points) for axis in np.eye(3)])
    return np.concatenate([shifts, turns])


def _follow_lids(columns: np.ndarray, cut: HeadCut, middle_dm: np.ndarray, eye: np.ndarray) -> np.ndarray:
    """Move an eyeball so that its lids keep lying on it.

    A lid vertex at unit direction n from the centre keeps its distance to the surface, to first order, where
    n . (its motion - centre's motion) = the radius' growth: one equation a vertex for four unknowns.
    """
    centre = middle_dm[eye].mean(0)
    arms = middle_dm[eye] - centre
    radius = np.linalg.norm(arms, axis=1).mean()
    away = middle_dm - centre
    distance = np.linalg.norm(away, axis=1)
    lids = cut.parts["skin"] & ~sockets(cut) & (distance < radius + _LID_DEPTH_DM)
    normal = away[lids] / distance[lids, None]
    equations = np.concatenate([normal, np.ones((lids.sum(), 1))], axis=1)
    known = (columns[:, lids] * normal).sum(-1)
    prior = np.diag([_EYE_SHIFT_PRIOR] * 3 + [_EYE_SIZE_PRIOR]) * lids.sum()
    expected = np.concatenate([columns[:, lids].mean(1), np.zeros((len(columns), 1))], axis=1)
    solution = np.linalg.solve(equations.T @ equations + prior, (known @ equations + expected @ prior).T).T
    return solution[:, None, :3] + solution[:, 3, None, None] * arms / radius


def _follow_walls(columns: np.ndarray, cut: HeadCut, middle_dm: np.ndarray, part: np.ndarray) -> np.ndarray:
    """Move a part by the translation and stretch along each axis of the mouth's walls and lips around it."""
    skin = np.flatnonzero(cut.parts["skin"])
    reach = KDTree(middle_dm[part]).query(middle_dm[skin])[0]
    walls = skin[reach < 0.12]
    centre = middle_dm[part].mean(0)
    arms, own_arms = middle_dm[walls] - centre, middle_dm[part] - centre
    offset = arms - arms.mean(0)
    shift = columns[:, walls].mean(1)
    # Half of the stretch: lips that grow wider are only partly due to a wider jaw.
    stretch = 0.5 * (columns[:, walls] * offset).sum(1) / (offset**2).sum(0)
    return shift[:, None] + stretch[:, None] * (own_arms - arms.mean(0))


def _follow_nearest(columns: np.ndarray, cut: HeadCut, middle_dm: np.ndarray, lashes: np.ndarray) -> np.ndarray:
    """Move each lash vertex as the lid margin next to it; upper lashes never take hold of the lower lid."""
    centre_height = middle_dm[cut.parts["eye_left"]].mean(0)[1]
    skin = np.flatnonzero(cut.parts["skin"])
    result = np.zeros((len(columns), lashes.sum(), 3))
    own = np.flatnonzero(lashes)
    for upper in (False, True):
        hosts = skin[(middle_dm[skin, 1] > centre_height) == upper]
        guests = (middle_dm[own, 1] > centre_height) == upper
        distance, nearest = KDTree(middle_dm[hosts]).query(middle_dm[own[guests]], k=6)
        weight = 1 / (distance + 0.01) ** 2
        weight /= weight.sum(1, keepdims=True)
        result[:, guests] = (columns[:, hosts[nearest]] * weight[..., None]).sum(2)
    return result
