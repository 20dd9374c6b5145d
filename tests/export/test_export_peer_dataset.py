"""What is written in GaussianAvatars' layout, read by its description, and the way back through our own import."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.spatial.transform import Rotation

from headstudio.datasets.importing import import_dataset
from headstudio.errors import HeadstudioError
from headstudio.export.peer_dataset import export_capture, write_gaussian_avatars
from headstudio.geometry.rigid import rigid, transform
from headstudio.heads import load_head
from headstudio.progress import Silent
from headstudio.records.capture import Capture
from headstudio.records.track import HeadIdentity, Track
from support.makehuman_flame import makehuman_as_flame
from support.tiny import tiny_capture, tiny_track
from support.videos import disk_frame, disk_tools

POINTS = torch.tensor(np.random.default_rng(2).uniform(-0.1, 0.1, (30, 3)), dtype=torch.float32)
LISTS = ("transforms", "transforms_train", "transforms_val", "transforms_test")


@pytest.fixture(autouse=True)
def no_flame(monkeypatch):
    monkeypatch.delenv("HEADSTUDIO_FLAME", raising=False)


def filmed(folder, frames=20, size_px=96):
    """A capture of a red disk, with a track whose camera looks past the middle of the frame and breathes."""
    capture = tiny_capture(folder, frames, size_px)
    for frame in range(frames):
        image = disk_frame((48 + math.sin(frame), 46), 30, size_px, size_px, 60 + frame)
        y, x = np.mgrid[:size_px, :size_px]
        mask = np.round(255 * np.clip(32 - np.hypot(x - 48, y - 46), 0, 1)).astype(np.uint8)
        Image.fromarray(image).save(capture.frame_path(frame), quality=95, subsampling=0)
        Image.fromarray(mask).save(capture.matte_path(frame))
    track = tiny_track(capture)
    K = track.views["front"].K_px.clone()
    K[:, 0, 2], K[:, 1, 2] = 37.3, 61.6
    K[:, 0, 0] += torch.linspace(0, 3, frames)
    turned = torch.tensor([torch.pi, 0.0, 0.0]) + 0.1 * torch.randn(
        frames, 3, generator=torch.Generator().manual_seed(3)
    )
    views = {"front": replace(track.views["front"], K_px=K)}
    return capture, replace(track, views=views, T_world_head=rigid(turned, track.T_world_head[:, :3, 3]))


def lists(folder):
    return {name: json.loads((folder / f"{name}.json").read_text()) for name in LISTS}


def opengl_pixels(points, frame):
    """Pinhole projection written for OpenGL axes from the fields of one frame."""
    c2w = np.array(frame["transform_matrix"])
    x, y, z = ((points - c2w[:3, 3]) @ c2w[:3, :3]).T
    return np.stack([frame["cx"] - frame["fl_x"] * x / z, frame["cy"] + frame["fl_y"] * y / z], 1)


def seen_px(track, frame):
    """The same points of the head in the stored frame."""
    camera = track.view(torch.tensor([frame])).camera
    return camera.project(transform(track.T_world_head[frame][None], POINTS[None]))[0][0].numpy()


def test_the_dataset_is_what_its_readers_expect(tmp_path):
    capture, track = filmed(tmp_path / "capture")
    written = write_gaussian_avatars(capture, track, tmp_path / "out", "white", Silent())
    content = lists(tmp_path / "out")
    assert written.frames == 20 and written.refitted is None
    assert [len(content[name]["frames"]) for name in LISTS] == [20, 15, 0, 4]
    assert content["transforms_test"]["timestep_indices"] == [16, 17, 18, 19]
    assert content["transforms_val"]["camera_indices"] == [] and content["transforms"]["camera_indices"] == [0]
    frame = content["transforms_train"]["frames"][5]
    assert frame["file_path"] == "images/00005_00.png" and frame["fg_mask_path"] == "fg_masks/00005_00.png"
    assert frame["timestep_index"] == 5 and frame["camera_id"] == "0" and "flame_param_path" not in frame
    assert frame["camera_angle_x"] == pytest.approx(2 * math.atan(frame["w"] / 2 / frame["fl_x"]))
    with Image.open(tmp_path / "out" / frame["file_path"]) as picture:
        assert picture.mode == "RGB" and picture.size == (frame["w"], frame["h"])
        padded = np.array(picture)
    left, top = round(frame["cx"] - 37.3), round(frame["cy"] - 61.6)
    matte = capture.matte(5)[0].numpy()[..., None] / 255
    over_white = capture.image(5).permute(1, 2, 0).numpy() * matte + 255 * (1 - matte)
    assert np.abs(padded[top : top + 96, left : left + 96] - over_white).max() < 0.51
    outside = np.ones(padded.shape[:2], bool)
    outside[top : top + 96, left : left + 96] = False
    assert (padded[outside] == 255).all()
    with Image.open(tmp_path / "out" / frame["fg_mask_path"]) as mask:
        assert mask.mode == "L"
        assert np.array_equal(np.array(mask)[top : top + 96, left : left + 96], capture.matte(5)[0].numpy())


def test_readers_that_take_the_middle_for_the_principal_point_are_right(tmp_path):
    capture, track = filmed(tmp_path / "capture")
    write_gaussian_avatars(capture, track, tmp_path / "out", "black", Silent())
    for frame in lists(tmp_path / "out")["transforms"]["frames"]:
        assert abs(frame["cx"] - frame["w"] / 2) <= 0.26 and abs(frame["cy"] - frame["h"] / 2) <= 0.26


def test_cameras_see_the_head_where_the_track_has_it(tmp_path):
    capture, track = filmed(tmp_path / "capture")
    write_gaussian_avatars(capture, track, tmp_path / "out", "keep", Silent())
    frames = lists(tmp_path / "out")["transforms"]["frames"]
    left, top = round(frames[0]["cx"] - 37.3), round(frames[0]["cy"] - 61.6)
    for number, frame in enumerate(frames):
        # The dataset's world is the head's own frame.
        assert (
            np.abs(opengl_pixels(POINTS.numpy(), frame) - (seen_px(track, number) + np.array([left, top]))).max() < 0.01
        )


def test_there_and_back(tmp_path):
    """Export and import: the same cameras, pictures, masks and split."""
    capture, track = filmed(tmp_path / "capture")
    write_gaussian_avatars(capture, track, tmp_path / "out", "keep", Silent())
    back = import_dataset(tmp_path / "out", tmp_path / "back", tools=disk_tools).capture
    frame = lists(tmp_path / "out")["transforms"]["frames"][0]
    view = back.views[0]
    left = round(frame["cx"] - 37.3) - round(view.crop.left_px)
    top = round(frame["cy"] - 61.6) - round(view.crop.top_px)
    assert back.frames == capture.frames and back.split == capture.split
    assert torch.allclose(view.times_s, capture.views[0].times_s)
    window = slice(top, top + 96), slice(left, left + 96)
    for number in range(capture.frames):
        assert torch.equal(back.matte(number)[0][window], capture.matte(number)[0])
        assert back.matte(number).int().sum() == capture.matte(number).int().sum()
        difference = back.image(number)[(slice(None), *window)].int() - capture.image(number).int()
        assert difference.abs().float().mean() < 1.5  # stored as JPEG once more
        assert view.K_px is not None
        K = view.K_px[number].numpy()
        there = transform(track.T_world_head[number][None], POINTS[None])[0].numpy() @ K.T
        wanted = seen_px(track, number) + np.array([left, top])
        assert np.abs(there[:, :2] / there[:, 2:] - wanted).max() < 0.01
    assert view.valid[window].all()


def test_unusable_frames_are_in_neither_list(tmp_path):
    capture, track = filmed(tmp_path / "capture")
    usable = torch.ones(20, dtype=torch.bool)
    usable[[0, 1, 4, 18]] = False
    write_gaussian_avatars(capture, replace(track, usable=usable), tmp_path / "out", "white", Silent())
    content = lists(tmp_path / "out")
    # Timesteps count from the first usable frame, frame 2.
    assert content["transforms"]["timestep_indices"] == list(range(18))
    assert content["transforms_train"]["timestep_indices"] == [n - 2 for n in range(2, 15) if n != 4]
    assert content["transforms_test"]["timestep_indices"] == [14, 15, 17]
    assert content["transforms_train"]["frames"][0]["timestep_index_original"] == 2
    with pytest.raises(HeadstudioError, match="no training frame is usable"):
        none = replace(track, usable=torch.zeros(20, dtype=torch.bool))
        write_gaussian_avatars(capture, none, tmp_path / "none", "white", Silent())
    assert not (tmp_path / "none").exists()


def test_wrong_targets_and_backgrounds_are_told(tmp_path):
    capture, track = filmed(tmp_path / "capture")
    with pytest.raises(HeadstudioError, match=r"'glb'.*gaussian-avatars"):
        export_capture(capture, track, "glb", tmp_path / "out", "white", Silent())
    with pytest.raises(HeadstudioError, match="no background is called beach"):
        export_capture(capture, track, "gaussian-avatars", tmp_path / "out", "beach", Silent())
    assert not (tmp_path / "out").exists()


def naive_world(arrays, path):
    """FLAME's vertices from one written file, by the makers' own kinematics."""
    with np.load(path, allow_pickle=False) as archive:
        found = {name: archive[name] for name in archive.files}
    identities = arrays["shapedirs"].shape[2] * 3 // 4
    points = arrays["v_template"] + arrays["shapedirs"][..., :identities] @ found["shape"]
    points = points + arrays["shapedirs"][..., identities:] @ found["expr"][0] + found["static_offset"][0]
    joints = arrays["J_regressor"] @ points
    eyes = found["eyes_pose"][0]
    turns = (found["rotation"][0], found["neck_pose"][0], found["jaw_pose"][0], eyes[:3], eyes[3:])
    chain, moved = [], 0
    for joint, turn in enumerate(turns):
        about = np.eye(4)
        about[:3, :3] = Rotation.from_rotvec(turn).as_matrix()
        about[:3, 3] = joints[joint] - about[:3, :3] @ joints[joint]
        chain.append(about if joint == 0 else chain[min(joint - 1, 1)] @ about)
        moved = moved + arrays["weights"][:, joint, None] * (points @ chain[-1][:3, :3].T + chain[-1][:3, 3])
    return moved + found["translation"][0], found


def test_flame_parameters_put_flame_on_the_tracked_face(tmp_path, monkeypatch):
    file = makehuman_as_flame(tmp_path / "flame.npz")
    monkeypatch.setenv("HEADSTUDIO_FLAME", str(file))
    capture, track = filmed(tmp_path / "capture")
    make = torch.Generator().manual_seed(4)
    head, flame = load_head(), load_head("flame")
    identity = HeadIdentity("makehuman", 0.7 * torch.randn(head.identities, generator=make))
    still = head.from_arkit(torch.zeros(20, 52)).expression
    neck = 0.1 * torch.randn(20, 3, generator=make)
    track = replace(track, identity=identity, expression=still, neck_rad=neck)
    written = write_gaussian_avatars(capture, track, tmp_path / "out", "white", Silent())
    assert written.refitted is not None and written.refitted["at rest, median mm"] < 0.5
    content = lists(tmp_path / "out")["transforms"]["frames"]
    arrays = dict(np.load(file))
    true_m = head.neutral(identity.coefficients[None])[0]
    face = flame.region("face").numpy()
    for number in (0, 7, 19):
        world, found = naive_world(arrays, tmp_path / "out" / content[number]["flame_param_path"])
        shapes = {name: value.shape for name, value in found.items()}
        assert shapes["expr"] == (1, 20) and shapes["eyes_pose"] == (1, 6) and shapes["shape"] == (60,)
        assert shapes["translation"] == shapes["rotation"] == shapes["neck_pose"] == shapes["jaw_pose"] == (1, 3)
        assert all(value.dtype == np.float32 for value in found.values())
        # The world is the tracked head's frame: FLAME's face lies on the tracked face, whatever the neck does.
        nearest = torch.cdist(torch.from_numpy(world[face]).float(), true_m).min(1).values
        assert nearest.median() < 0.002
        np.testing.assert_allclose(found["neck_pose"][0], neck[number].numpy(), atol=1e-6)
    canonical = dict(np.load(tmp_path / "out" / "canonical_flame_param.npz"))
    assert canonical["jaw_pose"].tolist() == [[pytest.approx(0.3), 0, 0]] and not canonical["translation"].any()
    imported = import_dataset(tmp_path / "out", tmp_path / "back", tools=disk_tools)
    assert imported.track is not None and imported.track.identity.head == "flame"
    back = Track.load(tmp_path / "back" / "track")
    T_head_flame = torch.linalg.inv(track.T_world_head) @ back.T_world_head
    torch.testing.assert_close(T_head_flame, T_head_flame[:1].expand(20, 4, 4), atol=1e-5, rtol=0)
    torch.testing.assert_close(back.neck_rad, neck, atol=1e-6, rtol=0)


def test_a_flame_track_keeps_its_own_coefficients(tmp_path, monkeypatch):
    monkeypatch.setenv("HEADSTUDIO_FLAME", str(makehuman_as_flame(tmp_path / "flame.npz")))
    capture, track = filmed(tmp_path / "capture")
    make = torch.Generator().manual_seed(6)
    own = tiny_track(capture, "flame", 60, 20)
    own = replace(own, T_world_head=track.T_world_head, jaw_rad=0.1 * torch.randn(20, 3, generator=make))
    written = write_gaussian_avatars(capture, own, tmp_path / "out", "white", Silent())
    assert written.refitted is not None and set(written.refitted.values()) == {0.0}
    back = import_dataset(tmp_path / "out", tmp_path / "back", tools=disk_tools).track
    assert back is not None
    torch.testing.assert_close(back.identity.coefficients, own.identity.coefficients)
    for name in ("expression", "jaw_rad", "gaze_rad", "neck_rad"):
        torch.testing.assert_close(getattr(back, name), getattr(own, name))
    torch.testing.assert_close(back.T_world_head, own.T_world_head, atol=1e-5, rtol=0)


@pytest.mark.slow
def test_a_synthetic_actor_goes_there_and_back_through_the_real_detector(actor_source, tmp_path):
    capture, track = actor_source.capture, actor_source.track
    track = replace(track, usable=torch.ones_like(track.usable))
    write_gaussian_avatars(capture, track, tmp_path / "out", "keep", Silent())
    back = import_dataset(tmp_path / "out", tmp_path / "back").capture
    assert back.split == capture.split and back.frames == capture.frames
    frame = lists(tmp_path / "out")["transforms"]["frames"][0]
    corner = torch.tensor([frame["cx"], frame["cy"]]) - track.views[capture.views[0].name].K_px[0, :2, 2]
    corner = corner - torch.tensor([back.views[0].crop.left_px, back.views[0].crop.top_px])
    found, wanted = (c.views[0].landmarks_px[..., :2] for c in (back, capture))
    distance = (found - wanted - corner).norm(dim=-1)
    assert distance[torch.isfinite(distance)].median() < 1.5  # another window, one more JPEG
    assert Capture.load(tmp_path / "back").annotations == capture.annotations
