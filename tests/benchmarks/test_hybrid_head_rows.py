"""What is measured of the hybrid head: masks, textures, and the captures that are made harder for it."""

import pytest
import torch

from headstudio.records.capture import Capture
from headstudio.training.contract import Source
from hybrid_head_scores import cast, intersection_over_union, spoiled, texture_psnr, usable_held_out
from support.tiny import tiny_source


def test_intersection_over_union_is_that_of_sets():
    make = torch.Generator().manual_seed(0)
    found, wanted, where = (torch.rand(1, 9, 9, generator=make) > 0.4 for _ in range(3))
    places = [(r, c) for r in range(9) for c in range(9) if where[0, r, c]]
    one = {p for p in places if found[0][p]}
    other = {p for p in places if wanted[0][p]}
    assert intersection_over_union(found, wanted, where) == pytest.approx(len(one & other) / len(one | other))
    nothing = torch.zeros_like(found)
    assert intersection_over_union(nothing, nothing, where) == 1 and intersection_over_union(found, nothing, where) == 0


def test_texels_that_the_frame_does_not_show_do_not_count():
    wanted = torch.full((3, 4, 4), 0.5)
    found, own = wanted + 0.1, torch.ones(1, 4, 4)
    found[:, 0] = 1.0
    own[:, 0] = 0.2
    assert texture_psnr(found, wanted, own) == pytest.approx(20.0, abs=1e-3)


def test_a_shadow_falls_beside_the_person():
    matte = torch.zeros(1, 40, 40)
    matte[:, 10:20, 10:20] = 1
    found = cast(matte)
    rows, columns = torch.nonzero(found[0] > 0.99, as_tuple=True)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (15, 22, 15, 22)
    assert found.max() <= 1 and found[0, 10, 10] == 0


def test_a_spoiled_capture_keeps_its_truth_and_darkens_the_room_alone(tmp_path):
    source = tiny_source(tmp_path / "capture")
    truth = source.capture
    where = spoiled(truth, tmp_path / "dark", noise=0.0, shadow=0.5)
    found = Capture.load(where)
    assert found.identifier == truth.identifier and (where / "frames").is_dir()
    assert torch.equal(found.matte(3), truth.matte(3))
    darker = (truth.image(3).float() - found.image(3).float()).mean(0)
    shaded = (1 - truth.matte(3)[0].float() / 255) * cast(truth.matte(3).float() / 255)[0]
    wanted = 0.5 * shaded * truth.image(3).float().mean(0)
    # Random pictures and a small JPEG: single pixels differ, their sum does not.
    assert float((darker - wanted).mean().abs()) < 2.0 and float(darker.mean()) > 1.0
    kept = found.frame_path(3).stat().st_mtime_ns
    spoiled(truth, tmp_path / "dark", noise=0.0, shadow=0.5)
    assert found.frame_path(3).stat().st_mtime_ns == kept
    assert usable_held_out(Source(found, source.track)) == list(truth.held_out_frames)
