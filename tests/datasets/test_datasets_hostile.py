"""Datasets that are broken or meant to harm cost one sentence: nothing is executed, read elsewhere or left behind."""

import io
import json
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
from peer_files import flame_parameters, insta, vhap
from PIL import Image

from headstudio.datasets.config import ImportConfig
from headstudio.datasets.flame_track import read_flame_parameters
from headstudio.datasets.importing import import_dataset
from headstudio.datasets.layouts import read_dataset
from headstudio.errors import HeadstudioError
from support.videos import disk_tools

LISTS = ("transforms", "transforms_train", "transforms_test", "transforms_val")


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    return insta(tmp_path_factory.mktemp("template") / "insta")


@pytest.fixture
def dataset(template, tmp_path):
    """A copy to spoil, beside a file that is nobody's business."""
    import shutil

    (tmp_path / "secret.png").write_bytes((template / "images" / "00001.png").read_bytes())
    (tmp_path / "neighbour").mkdir()
    (tmp_path / "neighbour" / "secret.png").write_bytes((tmp_path / "secret.png").read_bytes())
    return Path(shutil.copytree(template, tmp_path / "insta"))


def refused(folder, match, tmp_path, config=None):
    with pytest.raises(HeadstudioError, match=match) as caught:
        import_dataset(folder, tmp_path / "capture", config or ImportConfig(), tools=disk_tools)
    said = str(caught.value)
    assert said.endswith(".") and "\n" not in said
    assert not (tmp_path / "capture").exists()


def spoil(folder, change, names=LISTS):
    for name in names:
        path = folder / f"{name}.json"
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))


def in_frames(**values):
    return lambda content: [frame.update(values) for frame in content["frames"]]


HUGE = int("9" * 400)
MATRIX = np.eye(4).tolist()


def matrix(row, column, value):
    changed = np.eye(4)
    changed[row, column] = value
    return changed.tolist()


BAD_LISTS = {
    "up": (in_frames(file_path="../secret.png"), "leads out"),
    "up and aside": (in_frames(file_path="../neighbour/secret.png"), "leads out"),
    "up behind a turn": (in_frames(file_path="images/../../secret.png"), "leads out"),
    "up with backslashes": (in_frames(file_path="..\\secret.png"), "leads out"),
    "absolute": (in_frames(file_path="/etc/passwd"), "leads out"),
    "drive letter": (in_frames(file_path="C:\\secret.png"), "leads out"),
    "share": (in_frames(file_path="\\\\host\\secret.png"), "leads out"),
    "the folder itself": (in_frames(file_path="."), "leads out|missing"),
    "mask outside": (in_frames(seg_mask_path="../secret.png"), "leads out"),
    "mask of another kind outside": (in_frames(fg_mask_path="../../../etc/passwd"), "leads out"),
    "flame outside": (in_frames(flame_param_path="../secret.npz"), "leads out"),
    "nul": (in_frames(file_path="images/\0"), "no path"),
    "empty path": (in_frames(file_path=" "), "no path"),
    "endless path": (in_frames(file_path="a" * 5000), "no path"),
    "path is a number": (in_frames(file_path=3), "no path"),
    "path is missing": (lambda c: [f.pop("file_path") for f in c["frames"]], "no path"),
    "lost picture": (in_frames(file_path="images/lost.png"), "missing"),
    "matrix is missing": (lambda c: [f.pop("transform_matrix") for f in c["frames"]], "transform_matrix"),
    "matrix is text": (in_frames(transform_matrix="identity"), "transform_matrix"),
    "matrix is ragged": (in_frames(transform_matrix=[[1, 0], [0, 1, 2]]), "transform_matrix"),
    "matrix is small": (in_frames(transform_matrix=np.eye(3).tolist()), "transform_matrix"),
    "matrix is huge": (in_frames(transform_matrix=[[HUGE] * 4] * 4), "transform_matrix"),
    "matrix with NaN": (in_frames(transform_matrix=matrix(0, 3, float("nan"))), "transform_matrix"),
    "matrix with infinity": (in_frames(transform_matrix=matrix(1, 1, float("inf"))), "transform_matrix"),
    "matrix scales": (in_frames(transform_matrix=(2 * np.eye(4)).tolist()), "no rotation"),
    "matrix mirrors": (in_frames(transform_matrix=matrix(0, 0, -1.0)), "no rotation"),
    "matrix projects": (in_frames(transform_matrix=matrix(3, 0, 0.5)), "no rotation"),
    "focal NaN": (lambda c: c.update(fl_x=float("nan")), "fl_x is no number"),
    "focal text": (lambda c: c.update(fl_x="wide"), "fl_x is no number"),
    "focal true": (lambda c: c.update(fl_x=True), "fl_x is no number"),
    "focal zero": (lambda c: c.update(fl_x=0.0, fl_y=0.0), "makes no sense"),
    "focal negative": (lambda c: c.update(fl_x=-5.0), "makes no sense"),
    "focal huge": (lambda c: c.update(fl_x=HUGE), "fl_x is no number"),
    "no focal": (lambda c: [c.pop(n) for n in ("fl_x", "fl_y", "camera_angle_x", "camera_angle_y")], "neither"),
    "no width": (lambda c: c.update(w=0), "makes no sense"),
    "width list": (lambda c: c.update(w=[1]), "w is no number"),
    "camera index text": (in_frames(camera_index="front"), "no index"),
    "camera index negative": (in_frames(camera_index=-1), "no index"),
    "timestep huge": (in_frames(timestep_index=HUGE), "no index"),
    "timestep fraction": (in_frames(timestep_index=0.5), "no index"),
    "one timestep for all": (in_frames(timestep_index=1), "same timestep"),
    "no frames": (lambda c: c.update(frames=[]), "names no frame"),
    "frames are text": (lambda c: c.update(frames="all"), "missing or damaged"),
    "a frame is a number": (lambda c: c.update(frames=[1]), "missing or damaged"),
    "frames are missing": (lambda c: c.pop("frames"), "missing or damaged"),
}


@pytest.mark.parametrize(("change", "match"), BAD_LISTS.values(), ids=BAD_LISTS)
def test_bad_lists_are_refused(dataset, tmp_path, change, match):
    spoil(dataset, change)
    refused(dataset, match, tmp_path)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "cannot be read"),
        ("{", "cannot be read"),
        ("[1, 2]", "missing or damaged"),
        ("[" * 100_000, "nested too deep|cannot be read"),
        ('{"frames": ' + "9" * 5000 + "}", "cannot be read|missing or damaged"),
        ("\udcff", "cannot be read"),
    ],
)
def test_lists_that_are_no_lists_are_refused(dataset, tmp_path, text, match):
    (dataset / "transforms_train.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    refused(dataset, match, tmp_path)


def test_a_list_too_large_to_be_one_is_not_read(dataset, tmp_path, monkeypatch):
    monkeypatch.setattr("headstudio.datasets.layouts.LARGEST_LISTING_BYTES", 100)
    refused(dataset, "too large", tmp_path)


def test_too_many_frames_are_refused(dataset, tmp_path, monkeypatch):
    monkeypatch.setattr("headstudio.datasets.layouts.MOST_FRAMES", 10)
    refused(dataset, "more than 10", tmp_path)


@pytest.mark.parametrize("folder", ["", "absent", "secret.png"])
def test_folders_that_hold_no_dataset_are_told(tmp_path, folder):
    (tmp_path / "secret.png").write_bytes(b"")
    refused(tmp_path / folder, "no transforms.json", tmp_path)


def test_a_dataset_of_tests_alone_is_told(dataset, tmp_path):
    spoil(dataset, lambda content: content.update(frames=[]), names=("transforms_train",))
    refused(dataset, "0 training and 4 test frames", tmp_path)


def png(array):
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, "PNG")
    return stream.getvalue()


BAD_PICTURES = {
    "empty": (lambda old: b"", "cannot be read"),
    "text": (lambda old: b"not a picture", "neither PNG nor JPEG"),
    "half": (lambda old: old[: len(old) // 2], "cannot be read"),
    "damaged": (lambda old: old[:60] + bytes(40) + old[100:], "cannot be read"),
    "another size": (lambda old: png(np.zeros((64, 128, 3), np.uint8)), "128 x 64 px and another one 128 x 128"),
    "sixteen bits": (lambda old: png(np.zeros((128, 128), np.uint16)), "eight bits"),
    "another format": (lambda old: b"GIF89a" + bytes(64), "neither PNG nor JPEG"),
}


@pytest.mark.parametrize("where", ["images/00005.png", "images/00001.png"])
@pytest.mark.parametrize(("change", "match"), BAD_PICTURES.values(), ids=BAD_PICTURES)
def test_bad_pictures_are_refused(dataset, tmp_path, change, match, where):
    path = dataset / where
    path.write_bytes(change(path.read_bytes()))
    refused(dataset, match, tmp_path)


def test_a_bad_mask_is_refused(tmp_path):
    folder = vhap(tmp_path / "vhap", cameras=(0,))
    (folder / "fg_masks" / "00004_00.png").write_bytes(png(np.zeros((10, 10), np.uint8)))
    refused(folder, "10 x 10 px", tmp_path)


def test_a_picture_of_a_size_to_burst_memory_is_not_decoded(dataset, tmp_path):
    header = bytearray(png(np.zeros((4, 4, 3), np.uint8)))
    header[16:24] = (50_000).to_bytes(4, "big") * 2
    import zlib

    header[29:33] = zlib.crc32(header[12:29]).to_bytes(4, "big")
    for picture in (dataset / "images").iterdir():
        picture.write_bytes(bytes(header))
    refused(dataset, "cannot be read|larger than", tmp_path)


@pytest.mark.parametrize(("fps", "size"), [(0.0, None), (-1.0, None), (float("nan"), None), (25.0, 3), (25.0, -64)])
def test_bad_options_are_refused(dataset, tmp_path, fps, size):
    refused(dataset, "--fps|--size", tmp_path, ImportConfig(fps=fps, size_px=size))


class _Malice:
    def __reduce__(self):
        return (Path.mkdir, (Path("made"),))


def parameters(**changes):
    content = {**flame_parameters(0), **changes}
    return {name: value for name, value in content.items() if value is not None}


BAD_PARAMETERS = {
    "lacks jaw": (parameters(jaw_pose=None), "lack jaw_pose"),
    "lacks shape": (parameters(shape=None), "lack shape"),
    "jaw of four": (parameters(jaw_pose=np.zeros((1, 4))), "shape"),
    "two frames": (parameters(rotation=np.zeros((2, 3))), "shape"),
    "three axes": (parameters(rotation=np.zeros((1, 1, 3))), "shape"),
    "empty": (parameters(expr=np.zeros((1, 0))), "shape"),
    "NaN": (parameters(translation=np.full((1, 3), np.nan)), "no sense"),
    "infinite": (parameters(neck_pose=np.full((1, 3), np.inf)), "no sense"),
    "huge": (parameters(translation=np.full((1, 3), 1e30)), "no sense"),
    "text": (parameters(eyes_pose=np.array([["a"] * 6])), "no numbers"),
    "complex": (parameters(eyes_pose=np.zeros((1, 6), complex)), "no numbers"),
    "offset flat": (parameters(static_offset=np.zeros(30)), "static_offset"),
    "offset of pairs": (parameters(static_offset=np.zeros((1, 10, 2))), "static_offset"),
    "a pickle inside": (parameters(shape=np.array([_Malice()], dtype=object)), "cannot be read"),
}


@pytest.mark.parametrize(("content", "match"), BAD_PARAMETERS.values(), ids=BAD_PARAMETERS)
def test_bad_flame_parameters_are_refused(tmp_path, monkeypatch, content, match):
    monkeypatch.chdir(tmp_path)
    np.savez(tmp_path / "0.npz", **content)
    with pytest.raises(HeadstudioError, match=match):
        read_flame_parameters([tmp_path / "0.npz"])
    assert not (tmp_path / "made").exists()


NO_ARCHIVES = {"empty": b"", "text": b"no zip", "pickle": pickle.dumps(_Malice()), "hollow": b"PK\x05\x06" + bytes(18)}


@pytest.mark.parametrize("content", NO_ARCHIVES.values(), ids=NO_ARCHIVES)
def test_files_that_are_no_npz_are_refused(tmp_path, monkeypatch, content):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "0.npz").write_bytes(content)
    with pytest.raises(HeadstudioError, match=r"cannot be read|lack"):
        read_flame_parameters([tmp_path / "0.npz"])
    assert not (tmp_path / "made").exists()


def test_expressions_of_changing_length_are_refused(tmp_path):
    for step in range(2):
        np.savez(tmp_path / f"{step}.npz", **flame_parameters(step, expressions=7 + step))
    with pytest.raises(HeadstudioError, match="expr has the shape"):
        read_flame_parameters([tmp_path / "0.npz", tmp_path / "1.npz"])


def test_an_npz_that_unpacks_to_too_much_is_not_unpacked(tmp_path):
    with zipfile.ZipFile(tmp_path / "0.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        header = b"\x93NUMPY\x01\x00v\x00" + str({"descr": "|u1", "fortran_order": False, "shape": (1 << 27,)}).encode()
        archive.writestr("shape.npy", header.ljust(127) + b"\n" + bytes(1 << 27))
    assert (tmp_path / "0.npz").stat().st_size < 1 << 20
    with pytest.raises(HeadstudioError, match="too large"):
        read_flame_parameters([tmp_path / "0.npz"])


def test_a_sibling_that_is_a_dataset_may_be_named(tmp_path):
    folder = vhap(tmp_path / "UNION", cameras=(0,), sequence="EXP-1")
    assert len(read_dataset(folder).frames) == 20
    (tmp_path / "EXP-1" / "transforms.json").unlink()
    with pytest.raises(HeadstudioError, match="leads out"):
        read_dataset(folder)
