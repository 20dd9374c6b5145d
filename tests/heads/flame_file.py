"""A small file laid out as FLAME's: a ball with two eyeballs in front, chumpy wrappers, a sparse joint regressor."""

import pickle
import sys
import types

import numpy as np
from scipy import sparse

IDENTITIES, EXPRESSIONS = 6, 2


def flame_arrays():
    points, triangles = _ball(12, 16, (0, 0, 0), 0.1)
    head = len(points)
    for side in (1, -1):
        eye_points, eye_triangles = _ball(6, 8, (0.03 * side, 0.02, 0.085), 0.012)
        triangles = np.concatenate([triangles, eye_triangles + len(points)])
        points = np.concatenate([points, eye_points])
    count = len(points)
    eye = (count - head) // 2
    weights = np.zeros((count, 5))
    below, chin = points[:, 1] < -0.07, (points[:, 1] < -0.02) & (points[:, 2] > 0.05)
    weights[:, 1] = 1
    weights[chin] = [0, 0.5, 0.5, 0, 0]
    weights[below] = [1, 0, 0, 0, 0]
    weights[head : head + eye] = [0, 0, 0, 1, 0]
    weights[head + eye :] = [0, 0, 0, 0, 1]
    regressor = np.zeros((5, count))
    for joint, mask in enumerate((below, below, chin, weights[:, 3] == 1, weights[:, 4] == 1)):
        regressor[joint, mask] = 1 / mask.sum()
    random = np.random.default_rng(3)
    return {
        "v_template": points,
        "f": triangles.astype(np.uint32),
        "shapedirs": random.normal(0, 0.002, (count, 3, IDENTITIES + EXPRESSIONS)),
        "J_regressor": regressor,
        "weights": weights,
        "posedirs": np.zeros((count, 3, 36)),
        "kintree_table": np.array([[4294967295, 0, 1, 1, 1], [0, 1, 2, 3, 4]]),
    }


def write_flame_pickle(path):
    """Write the arrays as the original does: Python 2's protocol, chumpy objects for most of them."""
    arrays = flame_arrays()
    wrapper = _chumpy_class()
    content = {name: arrays[name] for name in ("f", "weights", "kintree_table")}
    content["J_regressor"] = sparse.csc_matrix(arrays["J_regressor"])
    content["bs_style"] = "lbs"
    for name in ("v_template", "shapedirs", "posedirs"):
        content[name] = wrapper(arrays[name])
    path.write_bytes(pickle.dumps(content, protocol=2))
    for module in ("chumpy", "chumpy.ch"):
        del sys.modules[module]


def _chumpy_class():
    module = types.ModuleType("chumpy.ch")
    wrapper = type("Ch", (), {"__module__": "chumpy.ch", "__init__": lambda self, x: setattr(self, "x", x)})
    module.Ch = wrapper
    sys.modules["chumpy"], sys.modules["chumpy.ch"] = types.ModuleType("chumpy"), module
    return wrapper


def _ball(rows, columns, centre, radius):
    polar = np.linspace(0, np.pi, rows + 1)[1:-1]
    around = np.arange(columns) * 2 * np.pi / columns
    polar, around = np.meshgrid(polar, around, indexing="ij")
    ring = np.stack([np.sin(polar) * np.sin(around), np.cos(polar), np.sin(polar) * np.cos(around)], -1)
    points = np.concatenate([ring.reshape(-1, 3), [[0, 1, 0], [0, -1, 0]]]) * radius + centre
    index = np.arange((rows - 1) * columns).reshape(rows - 1, columns)
    after = np.roll(index, -1, axis=1)
    top, bottom = len(points) - 2, len(points) - 1
    triangles = [np.stack([np.full(columns, top), index[0], after[0]], 1)]
    triangles += [np.stack([np.full(columns, bottom), after[-1], index[-1]], 1)]
    a, b, c, d = index[:-1].ravel(), index[1:].ravel(), after[1:].ravel(), after[:-1].ravel()
    triangles += [np.stack([a, b, c], 1), np.stack([a, c, d], 1)]
    return points, np.concatenate(triangles)
