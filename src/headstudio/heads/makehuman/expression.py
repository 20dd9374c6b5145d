"""The 52 ARKit face units of the `faceunits01` pack (CC0, Mika Suominen) as an expression basis."""

import numpy as np

from headstudio.heads.arkit import ARKIT_NAMES, GAZE_DIRECTIONS
from headstudio.heads.makehuman import files
from headstudio.heads.makehuman.parts import HeadCut


def build(cut: HeadCut, base_vertices: int) -> tuple[np.ndarray, np.ndarray]:
    """The units and what full gaze is.

    Returns:
        basis_dm: (52, vertices, 3). The eyeLook units move lids and lashes only: eyeballs turn by gaze.
        gaze_full_rad: (4,) the angles by which the original eyeLook units turn an eyeball, as `GAZE_DIRECTIONS`.
    """
    units = [
        files.target(f"faceunits01/targets/faceunits/{name}.target", base_vertices)[cut.kept] for name in ARKIT_NAMES
    ]
    basis = np.stack(units)
    for unit, name in enumerate(ARKIT_NAMES):
        if name.startswith("eye"):
            # The pack's eyeBlink and eyeLookUp also carry the inner lids of the other eye along.
            side = 1 if name.endswith("Left") else -1
            basis[unit, cut.vertices_dm[:, 0] * side < 0] = 0
    sides = ("eye_left", "eye_right")
    angles = np.zeros((len(GAZE_DIRECTIONS), len(sides)))
    for row, direction in enumerate(GAZE_DIRECTIONS):
        for column, side in enumerate(sides):
            unit = ARKIT_NAMES.index(f"eyeLook{direction}{'Left' if side == 'eye_left' else 'Right'}")
            eye = cut.parts[side]
            angles[row, column] = _rotation_angle(cut.vertices_dm[eye], (cut.vertices_dm + basis[unit])[eye])
            basis[unit, eye] = 0
    return basis, angles.mean(1)


def _rotation_angle(before: np.ndarray, after: np.ndarray) -> float:
    """The angle of the rigid motion between two point sets (Kabsch)."""
    u, _, vt = np.linalg.svd((before - before.mean(0)).T @ (after - after.mean(0)))
    u[:, -1] *= np.sign(np.linalg.det(u @ vt))
    return float(np.arccos(((np.trace(u @ vt) - 1) / 2).clip(-1, 1)))
