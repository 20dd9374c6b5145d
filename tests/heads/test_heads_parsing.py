"""Every vertex has a label, and the paper's regions are cut out of labels as they should be."""

import pytest
import torch

from headstudio.heads import load_head
from headstudio.heads.parsing import NAMED, SEMANTIC_REGIONS, Label, is_known, region_masks, vertex_labels


@pytest.fixture(scope="module")
def head():
    return load_head("makehuman")


def test_labels_that_say_something_count_up_from_zero():
    assert [int(label) for label in NAMED] == list(range(len(NAMED)))
    assert Label.UNKNOWN not in NAMED


def test_vertices_have_the_label_of_their_region(head):
    labels = vertex_labels(head)
    assert set(labels.tolist()) == {Label.SKIN, Label.NECK, Label.EARS, Label.EYES, Label.MOUTH, Label.HAIR}
    for region, label in (("eyeballs", Label.EYES), ("teeth", Label.MOUTH), ("ears", Label.EARS), ("lips", Label.SKIN)):
        assert (labels[head.region(region)] == label).all(), region
    assert head.template_m[labels == Label.HAIR, 1].mean() > head.template_m[labels == Label.NECK, 1].mean()


def test_a_bald_scalp_is_skin(head):
    labels = vertex_labels(head, scalp=Label.SKIN)
    assert (labels[head.region("scalp")] == Label.SKIN).all() and not (labels == Label.HAIR).any()


def test_region_masks_join_skin_and_neck_and_leave_out_the_unknown():
    row = torch.tensor([*NAMED, Label.UNKNOWN], dtype=torch.uint8)
    masks = region_masks(row[None, None, None])[0, :, 0]
    found = {name: {Label(int(v)) for v in row[mask > 0]} for name, mask in zip(SEMANTIC_REGIONS, masks, strict=True)}
    assert found == {
        "skin": {Label.SKIN, Label.NECK},
        "eyes": {Label.EYES},
        "ears": {Label.EARS},
        "hair": {Label.HAIR},
    }
    assert is_known(row[None, None, None]).flatten().tolist() == [True] * len(NAMED) + [False]
