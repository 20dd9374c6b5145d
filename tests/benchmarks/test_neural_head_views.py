"""What is judged of novel views, and what the tables say."""

import pytest
import torch

from headstudio.heads.parsing import Label
from headstudio.records.evaluation import Evaluation, Interval, Row, Verdict
from neural_head_pictures import cells, clip_name, metrics_of
from neural_head_views import MARGIN, YAWS_DEG, judged_pixels, strip, table

SIDE_PX = 100


def test_the_head_and_what_lies_about_it_is_judged_but_no_neck_and_no_clothes():
    labels = torch.zeros(SIDE_PX, SIDE_PX, dtype=torch.uint8)
    labels[30:60, 30:60], labels[60:70, 40:50], labels[70:, :] = Label.SKIN, Label.NECK, Label.CLOTH
    labels[20:30, 30:60] = Label.HAIR
    found = judged_pixels(labels)
    reach = round(MARGIN * SIDE_PX)
    assert found[20:60, 30:60].all() and found[20 - reach, 40] and found[40, 30 - reach]
    assert not found[20 - reach - 1, 40] and not found[40, 30 - reach - 1]
    assert not found[60:70, 40:50].any() and not found[70:].any() and not judged_pixels(0 * labels).any()


def views(count=2):
    make = torch.Generator().manual_seed(0)
    pictures = (255 * torch.rand(len(YAWS_DEG) * count, 3, 24, 24, generator=make)).to(torch.uint8)
    masks = torch.zeros(len(pictures), 24, 24, dtype=torch.bool)
    masks[:, 2:20, 2:20] = True
    return {"frames": torch.arange(count), "pictures": pictures, "masks": masks}


def test_each_angle_has_its_own_column():
    truth = views()
    shown = truth["pictures"].float() / 255
    worse = shown.clone()
    worse[2 * 3 :, :, 2:20, 2:20] = 1 - worse[2 * 3 :, :, 2:20, 2:20]  # from the fourth angle on
    worse[:, :, 21:, :] = 0  # what is not judged
    lines = table({"ours": worse}, truth).splitlines()
    assert lines[0] == "| row | score | -60 | -30 | +0 | +30 | +60 |"
    l1 = [float(cell) for cell in lines[2].split("|")[3:-1]]
    assert l1[:3] == [0, 0, 0] and min(l1[3:]) > 0.3 and lines[2].startswith("| ours | L1 ")


def test_the_strip_has_truth_above_ours():
    truth = views()
    chosen = slice(1, None, 2)
    picture = strip(truth["pictures"][chosen], torch.zeros(len(YAWS_DEG), 3, 24, 24))
    assert picture.size == (24 * len(YAWS_DEG), 48)
    assert picture.crop((0, 24, 24 * len(YAWS_DEG), 48)).getextrema() == ((0, 0),) * 3


def test_a_row_tells_identity_of_the_face_and_the_rest_of_the_head(tmp_path):
    one = Interval(0.5, 0.4, 0.6, 9)
    names = ("L1", "PSNR", "SSIM", "MS-SSIM", "identity (faces-0)", "CPBD")
    rows = [Row("neural-head", "tracked", "face" if "identity" in n else "head", n, one) for n in names]
    worse = Verdict("neural-head", "tracked", "head", "L1", one, "better")
    told = Evaluation(
        "neural-head",
        "x",
        8,
        (0.0, 0.0, 0.0),
        9,
        0,
        (*rows, Row("tracked", "tracked", "head", "L1", one)),
        (worse,),
        (),
    )
    metrics = metrics_of(told)
    assert metrics == ["L1", "MS-SSIM", "identity (faces-0)", "CPBD"]
    assert list(cells(told, "neural-head", metrics)) == ["0.5000"] * 4
    assert list(cells(told, "tracked", metrics)) == ["0.5000 +", "", "", ""]
    (tmp_path / "clip" / "capture").mkdir(parents=True)
    assert clip_name(tmp_path / "clip" / "capture") == clip_name(tmp_path / "clip") == "clip"
    assert pytest.approx(0.5) == one.value
