"""FLAME evaluated as its paper describes it (Li et al. 2017, eq. 1-5), vertex by vertex, without pose correctives."""

import numpy as np
from scipy.spatial.transform import Rotation

PARENTS = (-1, 0, 1, 1, 1)


def naive_flame(arrays, parameters):
    """(vertices, 3) in the world, from the model's arrays and one file of parameters."""
    shapes = arrays["shapedirs"]
    identities = shapes.shape[2] * 3 // 4
    points = arrays["v_template"].astype(float)
    for number, weight in enumerate(parameters["shape"]):
        points = points + weight * shapes[:, :, number]
    for number, weight in enumerate(parameters["expr"][0]):
        points = points + weight * shapes[:, :, identities + number]
    if "static_offset" in parameters:
        points = points + parameters["static_offset"][0][: len(points)]
    joints = arrays["J_regressor"] @ points
    eyes = parameters["eyes_pose"][0]
    turns = (parameters["rotation"][0], parameters["neck_pose"][0], parameters["jaw_pose"][0], eyes[:3], eyes[3:])
    chain = []
    for joint, (turn, parent) in enumerate(zip(turns, PARENTS, strict=True)):
        about = np.eye(4)
        about[:3, :3] = Rotation.from_rotvec(turn).as_matrix()
        about[:3, 3] = joints[joint] - about[:3, :3] @ joints[joint]
        chain.append(about if parent < 0 else chain[parent] @ about)
    moved = np.zeros_like(points)
    for joint, transform in enumerate(chain):
        there = points @ transform[:3, :3].T + transform[:3, 3]
        moved += arrays["weights"][:, joint, None] * there
    return moved + parameters["translation"][0]
