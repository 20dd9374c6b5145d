"""Tiny datasets in the layouts of peers, written from the descriptions of those layouts and nothing of ours.

Every picture shows a red disk, which the stand-in detector takes for a face.
"""

import json
import math

import numpy as np
from PIL import Image

from support.videos import disk_frame

FOCAL_PX = 180.0


def looking_at_head(angle_rad, distance_m=0.7, height_m=0.05):
    """A camera-to-world matrix in OpenGL axes: y up, looking along -z, at the origin from a circle round it."""
    eye = np.array([distance_m * math.sin(angle_rad), height_m, distance_m * math.cos(angle_rad)])
    back = eye / np.linalg.norm(eye)
    right = np.cross([0.0, 1.0, 0.0], back)
    right /= np.linalg.norm(right)
    matrix = np.eye(4)
    matrix[:3, :3] = np.stack([right, np.cross(back, right), back], 1)
    matrix[:3, 3] = eye
    return matrix


def opengl_pixels(points, c2w, fl_x, fl_y, cx, cy):
    """Pinhole projection written for OpenGL axes, point by point."""
    pixels = []
    for point in points:
        x, y, z = c2w[:3, :3].T @ (point - c2w[:3, 3])
        pixels.append((cx + fl_x * x / -z, cy - fl_y * y / -z))
    return np.array(pixels)


def person(step, width, height):
    """A picture and its mask."""
    centre = width / 2 + 3 * math.sin(step), height / 2
    image = disk_frame(centre, 28, width, height, background=60 + step)
    y, x = np.mgrid[:height, :width]
    soft = np.clip(30 - np.hypot(x - centre[0], y - centre[1]), 0, 1)
    return image, np.round(255 * soft).astype(np.uint8)


def write_json(path, content):
    path.write_text(json.dumps(content))


def insta(folder, frames=20, test=4, size=128):
    """INSTA: RGBA pictures, OpenCV camera-to-world, shared intrinsics, lists out of order, val inside test."""
    (folder / "images").mkdir(parents=True)
    (folder / "seg_mask").mkdir()
    entries = []
    for step in range(frames):
        image, mask = person(step, size, size)
        name = f"{step + 1:05d}.png"
        Image.fromarray(np.concatenate([image, mask[..., None]], -1)).save(folder / "images" / name)
        Image.fromarray(np.zeros((size, size, 3), np.uint8)).save(folder / "seg_mask" / name)
        opencv = looking_at_head(0.02 * step) @ np.diag([1.0, -1, -1, 1])
        entries.append(
            {
                "transform_matrix": opencv.tolist(),
                "file_path": f"images/{name}",
                "mesh_path": f"meshes/{step + 1:05d}.obj",
                "exp_path": f"flame/exp/{step + 1:05d}.txt",
                "depth_path": f"depth/{name}",
                "seg_mask_path": f"seg_mask/{name}",
            }
        )
    angle = 2 * math.atan(size / 2 / FOCAL_PX)
    shared = {"w": float(size), "h": float(size), "cx": 61.5, "cy": 66.25, "fl_x": FOCAL_PX, "fl_y": FOCAL_PX}
    shared |= {"camera_angle_x": angle, "camera_angle_y": angle, "x_fov": math.degrees(angle)}
    shared |= {"integer_depth_scale": 0.001}
    train, late = entries[:-test], entries[-test:]
    shuffled = [train[i] for i in np.random.default_rng(0).permutation(len(train))]
    write_json(folder / "transforms.json", {**shared, "frames": late + shuffled})
    write_json(folder / "transforms_train.json", {**shared, "frames": shuffled})
    write_json(folder / "transforms_test.json", {**shared, "frames": late})
    write_json(folder / "transforms_val.json", {**shared, "frames": late[-2:]})
    return folder


def vhap(folder, frames=20, test=4, cameras=(0, 3, 8), width=128, height=100, flame=None, sequence=None):
    """GaussianAvatars: RGB over white, grey masks, OpenGL camera-to-world, intrinsics by frame, a camera for
    validation, and FLAME parameters from `flame(step)`. Joined sequences name pictures in sibling folders."""
    pictures = folder if sequence is None else folder.parent / sequence
    for name in ("images", "fg_masks", "flame_param"):
        (pictures / name).mkdir(parents=True, exist_ok=True)
    folder.mkdir(exist_ok=True)
    prefix = "" if sequence is None else f"../{sequence}/"
    entries = []
    for step in range(frames):
        if flame is not None:
            np.savez(pictures / "flame_param" / f"{step:05d}.npz", **flame(step))
        for camera in cameras:
            image, mask = person(step + camera, width, height)
            over_white = image * (mask[..., None] / 255.0) + 255.0 - mask[..., None]
            name = f"{step:05d}_{camera:02d}.png"
            Image.fromarray(np.round(over_white).astype(np.uint8)).save(pictures / "images" / name)
            Image.fromarray(mask).save(pictures / "fg_masks" / name)
            entry = {
                "timestep_index": step,
                "timestep_index_original": 3 * step,
                "timestep_id": f"frame_{3 * step:05d}",
                "camera_index": camera,
                "camera_id": f"22220{camera}",
                "cx": 60.25 + camera,
                "cy": 52.5,
                "fl_x": FOCAL_PX + camera,
                "fl_y": FOCAL_PX + camera + 1,
                "h": height,
                "w": width,
                "camera_angle_x": 2 * math.atan(width / 2 / (FOCAL_PX + camera)),
                "camera_angle_y": 2 * math.atan(height / 2 / (FOCAL_PX + camera + 1)),
                "transform_matrix": looking_at_head(0.1 * camera).tolist(),
                "file_path": f"{prefix}images/{name}",
                "fg_mask_path": f"{prefix}fg_masks/{name}",
            }
            if flame is not None:
                entry["flame_param_path"] = f"{prefix}flame_param/{step:05d}.npz"
            entries.append(entry)
    first_test = frames - test
    validation = cameras[-1] if len(cameras) > 1 else None
    lists = {
        "transforms": entries,
        "transforms_train": [
            e for e in entries if e["timestep_index"] < first_test and e["camera_index"] != validation
        ],
        "transforms_val": [e for e in entries if e["timestep_index"] < first_test and e["camera_index"] == validation],
        "transforms_test": [e for e in entries if e["timestep_index"] >= first_test],
    }
    for name, chosen in lists.items():
        content = {
            "timestep_indices": sorted({e["timestep_index"] for e in chosen}),
            "camera_indices": sorted({e["camera_index"] for e in chosen}),
            "frames": chosen,
        }
        write_json(folder / f"{name}.json", content)
    if sequence is not None:
        write_json(pictures / "transforms.json", {"frames": []})
    return folder


def flame_parameters(step, identities=5, expressions=7, vertices=0, seed=0):
    """One file's worth of what VHAP writes; the head hardly moves."""
    same, own = np.random.default_rng(seed), np.random.default_rng(100 + step)
    content = {
        "shape": same.normal(0, 1, identities),
        "expr": own.normal(0, 0.5, (1, expressions)),
        "rotation": own.normal(0, 0.2, (1, 3)),
        "neck_pose": own.normal(0, 0.1, (1, 3)),
        "jaw_pose": np.abs(own.normal(0, 0.1, (1, 3))) * [1, 0.1, 0.1],
        "eyes_pose": own.normal(0, 0.1, (1, 6)),
        "translation": own.normal(0, 0.02, (1, 3)),
    }
    if vertices:
        content["static_offset"] = same.normal(0, 0.001, (1, vertices, 3))
    return {name: value.astype(np.float32) for name, value in content.items()}
