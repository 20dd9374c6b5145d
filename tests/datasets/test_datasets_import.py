"""Datasets in the layouts of peers, written by hand, become captures with the same cameras, masks and split."""

import json
from fractions import Fraction

import numpy as np
import pytest
import torch
from naive_flame import naive_flame
from peer_files import FOCAL_PX, flame_parameters, insta, looking_at_head, opengl_pixels, person, vhap, write_json
from PIL import Image

from headstudio import storage
from headstudio.datasets.config import ImportConfig
from headstudio.datasets.importing import arrange, import_dataset
from headstudio.datasets.layouts import Layout, read_dataset
from headstudio.datasets.pictures import Part
from headstudio.errors import HeadstudioError
from headstudio.heads import load_head
from headstudio.motion.articulation import vertices_in_camera
from headstudio.records.capture import Annotation, Capture
from headstudio.records.track import Track, check_pair
from support.makehuman_flame import makehuman_as_flame
from support.videos import disk_tools

POINTS = np.random.default_rng(1).uniform(-0.1, 0.1, (20, 3))


@pytest.fixture(autouse=True)
def no_flame(monkeypatch):
    monkeypatch.delenv("HEADSTUDIO_FLAME", raising=False)


@pytest.fixture(scope="module")
def flame_file(tmp_path_factory):
    return makehuman_as_flame(tmp_path_factory.mktemp("flame") / "flame.npz")


def test_insta_becomes_a_capture(tmp_path):
    folder = insta(tmp_path / "insta")
    imported = import_dataset(folder, tmp_path / "capture", tools=disk_tools)
    capture, view = Capture.load(tmp_path / "capture"), imported.capture.views[0]
    assert imported.track is None and "track the capture" in " ".join(imported.notes)
    assert (capture.frames, capture.size_px, capture.train_frames, capture.held_out_frames) == (
        20, 128, range(16), range(16, 20),
    )  # fmt: skip
    assert view.times_s.tolist() == pytest.approx([step / 25 for step in range(20)])
    assert view.valid.all() and capture.annotations == {Annotation.LANDMARKS, Annotation.MATTE}
    K = [[FOCAL_PX, 0, 61.5], [0, FOCAL_PX, 66.25], [0, 0, 1]]
    assert capture.views[0].K_px is not None
    torch.testing.assert_close(capture.views[0].K_px, torch.tensor(K).expand(20, 3, 3))
    for step in (0, 7, 19):
        image, mask = person(step, 128, 128)
        assert np.array_equal(capture.matte(step)[0].numpy(), mask)
        assert np.abs(capture.image(step).permute(1, 2, 0).numpy().astype(int) - image).mean() < 1.5
    assert torch.isfinite(view.landmarks_px).all()


def test_the_cameras_of_both_layouts_project_as_their_makers_mean(tmp_path):
    frames = read_dataset(insta(tmp_path / "insta")).frames
    for step, frame in enumerate(frames):
        wanted = opengl_pixels(POINTS, looking_at_head(0.02 * step), FOCAL_PX, FOCAL_PX, 61.5, 66.25)
        assert np.abs(projected(frame, POINTS) - wanted).max() < 0.01
    for camera in (0, 8):
        dataset = read_dataset(vhap(tmp_path / f"vhap{camera}"), camera)
        wanted = opengl_pixels(
            POINTS, looking_at_head(0.1 * camera), FOCAL_PX + camera, FOCAL_PX + camera + 1, 60.25 + camera, 52.5
        )
        assert all(np.abs(projected(frame, POINTS) - wanted).max() < 0.01 for frame in dataset.frames)


def projected(frame, points):
    there = points @ frame.T_camera_world[:3, :3].T + frame.T_camera_world[:3, 3]
    pixels = there @ frame.K_px.T
    return pixels[:, :2] / pixels[:, 2:]


def test_one_camera_of_several_is_chosen_and_padded_to_a_square(tmp_path):
    folder = vhap(tmp_path / "vhap")
    with pytest.raises(HeadstudioError, match=r"3 cameras.*--camera: 0, 3, 8"):
        import_dataset(folder, tmp_path / "capture", tools=disk_tools)
    with pytest.raises(HeadstudioError, match="no camera 5"):
        import_dataset(folder, tmp_path / "capture", ImportConfig(camera=5), tools=disk_tools)
    assert not (tmp_path / "capture").exists()
    capture = import_dataset(folder, tmp_path / "capture", ImportConfig(camera=3), tools=disk_tools).capture
    view = capture.views[0]
    assert capture.size_px == 128 and view.valid[14:-14].all() and not view.valid[:14].any()
    assert view.K_px is not None
    torch.testing.assert_close(
        view.K_px[0], torch.tensor([[FOCAL_PX + 3, 0, 63.25], [0, FOCAL_PX + 4, 52.5 + 14], [0, 0, 1]])
    )
    image, mask = person(3 + 5, 128, 100)
    assert np.array_equal(capture.matte(5)[0, 14:-14].numpy(), mask) and not capture.matte(5)[0, :14].any()
    over_white = image * (mask[..., None] / 255.0) + 255.0 - mask[..., None]
    assert np.abs(capture.image(5)[:, 14:-14].permute(1, 2, 0).numpy() - over_white).mean() < 1.5
    assert (capture.split.train_end, capture.split.held_out_start, capture.frames) == (16, 16, 20)


def test_the_camera_kept_for_validation_trains_where_it_stands_alone(tmp_path):
    frames = read_dataset(vhap(tmp_path / "vhap"), 8).frames
    assert [frame.part for frame in frames] == [Part.TRAIN] * 16 + [Part.HELD_OUT] * 4


def test_another_size_scales_pictures_masks_and_intrinsics(tmp_path):
    folder = insta(tmp_path / "insta")
    capture = import_dataset(folder, tmp_path / "capture", ImportConfig(size_px=64), tools=disk_tools).capture
    assert capture.image(0).shape == (3, 64, 64) and capture.matte(0).shape == (1, 64, 64)
    assert capture.views[0].K_px is not None
    torch.testing.assert_close(capture.views[0].K_px[0, :2].flatten().tolist()[2], 61.5 / 2)
    torch.testing.assert_close(float(capture.views[0].K_px[0, 0, 0]), FOCAL_PX / 2)


def test_pictures_smaller_than_the_numbers_say_scale_the_intrinsics(tmp_path):
    folder = insta(tmp_path / "insta")
    edit(folder, lambda content: content.update({"w": 256.0, "h": 256.0, "cx": 123.0, "fl_x": 2 * FOCAL_PX}))
    K = read_dataset(folder).frames[0].K_px
    assert K[0].tolist() == pytest.approx([FOCAL_PX, 0, 61.5])


def test_a_field_of_view_stands_for_the_focal_length(tmp_path):
    folder = insta(tmp_path / "insta")
    edit(folder, lambda content: [content.pop(name) for name in ("fl_x", "fl_y", "cx", "cy", "w", "h")])
    K = read_dataset(folder).frames[0].K_px
    assert K.flatten().tolist() == pytest.approx([FOCAL_PX, 0, 64, 0, FOCAL_PX, 64, 0, 0, 1])


def edit(folder, change, names=("transforms", "transforms_train", "transforms_test", "transforms_val")):
    for name in names:
        path = folder / f"{name}.json"
        content = json.loads(path.read_text())
        change(content)
        write_json(path, content)


def test_without_lists_for_tests_the_end_is_held_out(tmp_path):
    folder = insta(tmp_path / "insta", frames=40)
    for name in ("train", "test", "val"):
        (folder / f"transforms_{name}.json").unlink()
    imported = import_dataset(folder, tmp_path / "capture", tools=disk_tools)
    assert (imported.capture.split.train_end, imported.capture.split.held_out_start) == (20, 32)
    assert "its end is held out" in " ".join(imported.notes)


def test_scattered_test_frames_move_to_the_end_and_unnamed_frames_stay_out(tmp_path):
    folder = insta(tmp_path / "insta")
    everything = json.loads((folder / "transforms.json").read_text())
    by_step = sorted(everything["frames"], key=lambda frame: frame["file_path"])
    test, train = by_step[2::5], [f for i, f in enumerate(by_step) if i % 5 != 2 and i != 9]
    write_json(folder / "transforms_test.json", {**everything, "frames": test})
    write_json(folder / "transforms_train.json", {**everything, "frames": train})
    write_json(folder / "transforms_val.json", {**everything, "frames": []})
    order = arrange(read_dataset(folder), Fraction(25))
    assert [frame.timestep - 1 for frame in order.frames] == [
        0,
        1,
        3,
        4,
        5,
        6,
        8,
        10,
        11,
        13,
        14,
        15,
        16,
        18,
        19,
        2,
        7,
        12,
        17,
    ]
    assert order.split is not None and (order.split.train_end, order.split.held_out_start) == (15, 15)
    gaps = np.diff([float(time) for time in order.times_s])
    assert (gaps > 0).all() and gaps[14] == 1.0 and gaps[1] == pytest.approx(2 / 25)
    assert len(order.notes) == 2


def test_frames_between_training_and_test_are_the_gap(tmp_path):
    folder = insta(tmp_path / "insta")
    edit(folder, lambda content: content.update(frames=sorted(content["frames"], key=lambda f: f["file_path"])))
    edit(folder, lambda content: content.update(frames=content["frames"][:-3]), names=("transforms_train",))
    order = arrange(read_dataset(folder), Fraction(25))
    assert order.split is not None and (order.split.train_end, order.split.held_out_start) == (13, 16)
    assert len(order.frames) == 20 and not order.notes


def test_joined_sequences_lie_beside_the_dataset_and_are_kept_apart_in_time(tmp_path):
    folder = vhap(tmp_path / "UNION", frames=10, test=2, cameras=(0,), sequence="EXP-1")
    other = vhap(tmp_path / "other", frames=10, test=2, cameras=(0,), sequence="EXP-2")
    later = json.loads((other / "transforms_train.json").read_text())["frames"]
    later = [{**frame, "timestep_index": frame["timestep_index"] + 8} for frame in later]
    edit(folder, lambda content: content["frames"].extend(later), names=("transforms_train",))
    move = [{**f, "timestep_index": f["timestep_index"] + 10} for f in read_list(folder, "transforms_test")]
    edit(folder, lambda content: content.update(frames=move), names=("transforms_test",))
    (folder / "transforms.json").unlink()
    dataset = read_dataset(folder)
    order = arrange(dataset, Fraction(25))
    assert dataset.layout is Layout.GAUSSIAN_AVATARS and len(order.frames) == 18
    assert [float(b - a) for a, b in zip(order.times_s[7:9], order.times_s[8:10], strict=True)] == [1.0, 1 / 25]


def read_list(folder, name):
    return json.loads((folder / f"{name}.json").read_text())["frames"]


def test_the_parsing_is_the_mask_where_there_is_no_other(tmp_path):
    folder = insta(tmp_path / "insta")
    for picture in sorted((folder / "images").iterdir()):
        rgba = np.array(Image.open(picture))
        painted = np.where(rgba[..., 3:] > 128, np.array([250, 0, 0]), 0).astype(np.uint8)
        painted[:10] = (90, 0, 0)  # clothes
        Image.fromarray(rgba[..., :3]).save(picture)
        Image.fromarray(painted).save(folder / "seg_mask" / picture.name)
    capture = import_dataset(folder, tmp_path / "capture", tools=disk_tools).capture
    wanted = person(4, 128, 128)[1] > 128
    wanted[:10] = False
    assert np.array_equal(capture.matte(4)[0].numpy() > 0, wanted)


def test_without_masks_the_matte_is_our_own(tmp_path):
    folder = vhap(tmp_path / "vhap", cameras=(0,))
    for mask in (folder / "fg_masks").iterdir():
        mask.unlink()
    imported = import_dataset(folder, tmp_path / "capture", tools=disk_tools)
    assert 0.05 < (imported.capture.matte(0) > 127).float().mean() < 0.4
    assert "no mask" in " ".join(imported.notes)


def test_flame_parameters_need_the_users_file(tmp_path):
    folder = vhap(tmp_path / "vhap", cameras=(0,), flame=flame_parameters)
    imported = import_dataset(folder, tmp_path / "capture", tools=disk_tools)
    assert imported.track is None and "HEADSTUDIO_FLAME" in " ".join(imported.notes)
    assert not (tmp_path / "capture" / "track").exists()


def test_flame_parameters_become_a_track_that_stands_where_flame_stands(tmp_path, flame_file, monkeypatch):
    monkeypatch.setenv("HEADSTUDIO_FLAME", str(flame_file))
    arrays = dict(np.load(flame_file))
    count = len(arrays["v_template"])

    def parameters(step):
        return flame_parameters(step, vertices=count + 120)  # VHAP adds teeth

    folder = vhap(tmp_path / "vhap", cameras=(3,), flame=parameters)
    imported = import_dataset(folder, tmp_path / "capture", tools=disk_tools)
    capture, track = Capture.load(tmp_path / "capture"), Track.load(tmp_path / "capture" / "track")
    check_pair(track, capture.identifier, tmp_path)
    assert imported.track is not None and track.identity.head == "flame" and track.usable.all()
    head = load_head("flame")
    neutral_m = head.neutral(track.identity.coefficients[None], track.identity.offsets_m[None])
    still = (head.skin_weights[:, 2:].sum(1) == 0).numpy()
    for step in (0, 9, 19):
        view, channels = track.view(torch.tensor([step])), track.motion().at([step])
        ours = view.camera.project(vertices_in_camera(head, neutral_m, channels, view))[0][0].numpy()
        world = naive_flame(arrays, parameters(step))
        theirs = opengl_pixels(world, looking_at_head(0.3), FOCAL_PX + 3, FOCAL_PX + 4, 63.25, 52.5 + 14)
        distance = np.linalg.norm(ours - theirs, axis=1)
        assert distance[still].max() < 0.01
        # FLAME's jaw and eyes turn about joints of the expressed face, ours about those of the face at rest.
        assert distance.max() < 0.5 and np.median(distance[~still]) < 0.05


def test_the_head_of_another_flame_is_told(tmp_path, flame_file, monkeypatch):
    monkeypatch.setenv("HEADSTUDIO_FLAME", str(flame_file))
    folder = vhap(tmp_path / "vhap", cameras=(0,), flame=lambda step: flame_parameters(step, identities=300))
    with pytest.raises(HeadstudioError, match="300 coefficients and your FLAME file 60"):
        import_dataset(folder, tmp_path / "capture", tools=disk_tools)


def test_a_dataset_without_faces_is_told(tmp_path):
    folder = insta(tmp_path / "insta")
    for picture in (folder / "images").iterdir():
        Image.fromarray(np.full((128, 128, 4), 90, np.uint8)).save(picture)
    with pytest.raises(HeadstudioError, match="no face"):
        import_dataset(folder, tmp_path / "capture", tools=disk_tools)
    assert not (tmp_path / "capture").exists()


def test_the_same_content_has_the_same_identifier_and_another_mask_another(tmp_path):
    folder = insta(tmp_path / "insta")
    first = import_dataset(folder, tmp_path / "a", tools=disk_tools).capture
    assert import_dataset(folder, tmp_path / "b", tools=disk_tools).capture.identifier == first.identifier
    picture = folder / "images" / "00003.png"
    rgba = np.array(Image.open(picture))
    rgba[..., 3] = 0
    Image.fromarray(rgba).save(picture)
    assert import_dataset(folder, tmp_path / "c", tools=disk_tools).capture.identifier != first.identifier


def test_given_intrinsics_survive_the_disk_and_must_be_one_a_frame(tmp_path):
    capture = import_dataset(insta(tmp_path / "insta"), tmp_path / "capture", tools=disk_tools).capture
    tables = storage.read_tensors(capture.path / "annotations.safetensors")
    storage.write_tensors(capture.path / "annotations.safetensors", {**tables, "main/K_px": tables["main/K_px"][1:]})
    with pytest.raises(HeadstudioError, match=r"differ in length|damaged"):  # whichever check is on
        Capture.load(tmp_path / "capture")
