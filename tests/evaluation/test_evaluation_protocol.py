"""The whole protocol on a head whose true appearance is known: the avatar here is told the answer, or half of it."""

import math
from dataclasses import replace
from typing import ClassVar

import pytest
import torch

from headstudio.errors import HeadstudioError
from headstudio.evaluation.alignment import similarity, warped
from headstudio.evaluation.baselines import NearestFrame
from headstudio.evaluation.bootstrap import BootstrapConfig
from headstudio.evaluation.evaluate import EvaluationConfig, evaluate
from headstudio.evaluation.judge import find_judge
from headstudio.evaluation.regions import REGIONS, RegionMasker
from headstudio.evaluation.tables import markdown
from headstudio.evaluation.tracked_mesh import TrackedMesh
from headstudio.evaluation.truth import Truth
from headstudio.geometry.rigid import relative_orientation
from headstudio.heads import load_head
from headstudio.motion.articulation import mesh_channels, vertices_in_camera
from headstudio.nn import weights
from headstudio.nn.extractors import TORCHVISION, Extractor
from headstudio.records.channels import ARKIT, Rendering, latent_of
from headstudio.records.evaluation import Evaluation
from headstudio.records.motion import Motion
from headstudio.render.composite import over
from headstudio.render.mesh import MeshTopology, render_surface
from headstudio.training.contract import AvatarModel, Source
from support.painted import JAW_OPEN, painted_source, true_texture

CONFIG = EvaluationConfig(batch_size=2, examples=2, judges=(), bootstrap=BootstrapConfig(draws=100))
BLACK = torch.zeros(3, 1, 1)


class Oracle(AvatarModel):
    """Renders the true texture; its static baseline always that of a half-open mouth."""

    Config = object
    presets: ClassVar = {}
    capabilities = frozenset()

    def __init__(self, head, opens=True, extractors=frozenset(), driven_by=None) -> None:
        super().__init__(None)
        self.head, self.opens, self.extractors = head, opens, extractors
        self.accepted = mesh_channels(head.name) if driven_by is None else driven_by
        self.mesh = MeshTopology(head.data.triangles, head.data.uv, head.data.uv_triangles)

    driven_by = property(lambda self: self.accepted)
    identity = property(lambda self: None)
    loss_extractors = property(lambda self: self.extractors)

    def setup(self, sources) -> None: ...

    def stages(self):
        return ()

    def losses(self, batch, stage, player):
        return {}

    def runtime(self):
        raise NotImplementedError

    def notes(self):
        return ("a remark",)

    def baselines(self):
        return {"static texture": Oracle(self.head, opens=False)} if self.opens else {}

    def render(self, channels, view, scene) -> Rendering:
        neutral_m = self.head.neutral(torch.zeros(1, self.head.identities))
        vertices = vertices_in_camera(self.head, neutral_m, channels, view)
        shares = channels[ARKIT][:, JAW_OPEN] if self.opens else torch.full((view.batch,), 0.5)
        textures = torch.stack([true_texture(float(share)) for share in shares])
        drawn = render_surface(vertices, self.mesh, view.camera, textures)
        return Rendering(over(drawn.image, drawn.mask, scene.background), drawn.mask)


@pytest.fixture(scope="module")
def head():
    return load_head("makehuman")


@pytest.fixture(scope="module")
def source(tmp_path_factory, head) -> Source:
    return painted_source(tmp_path_factory.mktemp("evaluated") / "capture", head, frames=40)


@pytest.fixture(scope="module")
def evaluation(source, head) -> Evaluation:
    return evaluate(Oracle(head), source, CONFIG, head)


@pytest.mark.parametrize("region", ["face", "head", "frame"])
@pytest.mark.parametrize("metric", ["PSNR", "L1", "SSIM"])
def test_knowing_the_answer_beats_half_of_it_which_beats_memory(evaluation, region, metric) -> None:
    for other in ("static texture", "nearest frame", "nearest frame, aligned"):
        assert evaluation.verdict("avatar", other, region, metric) == "better"
    best = evaluation.row("avatar", region, metric)
    assert best.n == evaluation.frames_scored == 8
    assert best.low <= best.value <= best.high


def test_the_answer_scores_nearly_perfectly_and_alignment_helps_memory(evaluation) -> None:
    assert evaluation.row("avatar", "face", "PSNR").value > 35
    assert evaluation.row("avatar", "face", "SSIM").value > 0.98
    plain, aligned = (evaluation.row(n, "frame", "L1").value for n in ("nearest frame", "nearest frame, aligned"))
    assert aligned < plain


def test_every_row_says_what_drove_it_and_every_departure_is_told(evaluation) -> None:
    assert {row.signal for row in evaluation.rows} == {"tracked"}
    told = " ".join(evaluation.departures)
    for fact in ("gap before the held-out part", "which frames taught", "tracked head", "no perceptual score"):
        assert fact in told
    assert evaluation.notes == ("a remark",)


def test_it_survives_the_disk_and_the_table_shows_its_numbers(evaluation, tmp_path) -> None:
    evaluation.save(tmp_path / "evaluation.json")
    loaded = Evaluation.load(tmp_path / "evaluation.json")
    assert loaded == replace(evaluation, examples=())
    table = markdown(loaded)
    for row in loaded.rows:
        digits = 2 if row.metric == "PSNR" else 4
        assert f"{row.interval.value:.{digits}f} [{row.interval.low:.{digits}f}" in table
    assert "| nearest frame, aligned | tracked |" in table
    (tmp_path / "evaluation.json").write_text('{"schema": "headstudio.evaluation", "schema_version": 1, "rows": [{}]}')
    with pytest.raises(HeadstudioError, match="damaged"):
        Evaluation.load(tmp_path / "evaluation.json")


def test_examples_show_the_truth_and_every_competitor(evaluation, source) -> None:
    assert [example.frame for example in evaluation.examples] == [32, 39]
    for example in evaluation.examples:
        assert set(example.pictures) == {"avatar", "static texture", "nearest frame", "nearest frame, aligned"}
        stored = source.capture.image(example.frame).float()
        matte = source.capture.matte(example.frame).float() / 255
        assert (example.truth.float() - stored * matte).abs().max() <= 1


def test_frames_that_were_not_tracked_are_dropped_and_counted(source, head) -> None:
    usable = source.track.usable.clone()
    usable[[33, 35]] = False
    found = evaluate(Oracle(head), Source(source.capture, replace(source.track, usable=usable)), CONFIG, head)
    assert (found.frames_scored, found.frames_dropped) == (6, 2)
    with pytest.raises(HeadstudioError, match="no held-out frame"):
        none = replace(source.track, usable=torch.zeros_like(usable))
        evaluate(Oracle(head), Source(source.capture, none), CONFIG, head)


def test_a_signal_without_the_needed_channel_is_refused_by_name(source, head) -> None:
    code = latent_of("another")
    with pytest.raises(HeadstudioError, match="latent_code@another"):
        evaluate(Oracle(head, driven_by=(frozenset({code}),)), source, CONFIG, head)


def test_another_signal_is_named_in_the_rows_it_drove(source, head) -> None:
    motion = source.motion
    still = Motion(motion.times_s, {**motion.channels, ARKIT: torch.zeros_like(motion.channels[ARKIT])})
    config = replace(CONFIG, every=2, size_px=32)
    found = evaluate(Oracle(head), source, config, head, name="driven", motion=still, signal="predicted")
    signals = {row.name: row.signal for row in found.rows}
    assert signals["driven"] == signals["static texture"] == "predicted"
    assert signals["nearest frame"] == "tracked"
    assert found.frames_scored == 4
    assert any("every 2. held-out" in sentence for sentence in found.departures)
    assert any("scored at 32 px" in sentence for sentence in found.departures)


def test_the_tracked_head_alone_is_scored_where_the_track_has_a_texture(source, head) -> None:
    texture = (true_texture(0.5) * 255).round().to(torch.uint8)
    told = replace(source.track, texture=texture, training_clock=(0.0, 1.0))
    found = evaluate(Oracle(head), Source(source.capture, told), CONFIG, head)
    static, tracked = (found.row(n, "face", "PSNR").value for n in ("static texture", "tracked head"))
    assert tracked == pytest.approx(static, abs=0.1)
    assert not any("tracked head" in sentence for sentence in found.departures)


def test_padding_and_what_lies_behind_the_matte_never_score(source, head) -> None:
    track, capture = source.track, source.capture
    valid = torch.ones_like(capture.views[0].valid)
    valid[:, :20] = False
    padded = replace(capture, views=(replace(capture.views[0], valid=valid),))
    frames, masker = torch.tensor([33, 34]), RegionMasker(TrackedMesh(head, track))
    whole = masker.masks(frames, 64, None, torch.ones(1, 1, 64, 64, dtype=torch.bool))
    half = masker.masks(frames, 64, None, Truth(Source(padded, track), 64, BLACK).valid)
    assert not half[..., :20].any()
    assert torch.equal(half[..., 20:], whole[..., 20:])
    matte = torch.zeros(2, 1, 64, 64)
    matte[..., 30:, :] = 1
    cut = masker.masks(frames, 64, matte, torch.ones(1, 1, 64, 64, dtype=torch.bool))
    assert not cut[:, :-1, :30].any()
    assert torch.equal(cut[:, :-1, 30:], whole[:, :-1, 30:])
    assert cut[:, REGIONS.index("frame")].all()


def test_regions_lie_where_the_face_is(source, head) -> None:
    frames, mesh = torch.tensor([0, 30]), TrackedMesh(head, source.track)
    masks = RegionMasker(mesh).masks(frames, 256, None, torch.ones(1, 1, 256, 256, dtype=torch.bool))
    face, mouth, eyes, whole, frame = masks.unbind(1)
    assert (face & ~whole).sum() == 0
    assert (whole & ~frame).sum() == 0
    assert 0 < mouth.sum() < face.sum() / 2
    vertices, view = mesh.vertices_in_camera(frames, 256)
    places = view.camera.project(vertices)[0]
    for region, name in ((mouth, "lips"), (eyes, "eyelids")):
        rows, columns = (torch.arange(256).float() + 0.5).view(-1, 1), (torch.arange(256).float() + 0.5).view(1, -1)
        for index in range(2):
            count = region[index].sum()
            middle = torch.stack([(region[index] * columns).sum(), (region[index] * rows).sum()]) / count
            expected = places[index, head.data.regions[name]]
            assert (middle - expected.mean(0)).norm() < 8
            low, high = expected.min(0).values, expected.max(0).values
            inside = (columns > low[0] - 12) & (columns < high[0] + 12) & (rows > low[1] - 12) & (rows < high[1] + 12)
            assert (region[index] & ~inside).sum() == 0


@pytest.mark.parametrize("aligned", [False, True])
def test_the_nearest_frame_equals_the_search_one_by_one(source, head, aligned) -> None:
    usable = source.track.usable.clone()
    usable[3] = False
    track = replace(source.track, usable=usable)
    found = NearestFrame(Source(source.capture, track), Truth(source, 64, BLACK), TrackedMesh(head, track), aligned)
    training = [frame for frame in source.capture.train_frames if frame != 3]
    expression = torch.cat([track.expression, track.jaw_rad, track.gaze_rad.flatten(1)], 1)
    groups = [track.T_world_head[:, :3, 3], relative_orientation(track.T_world_head), expression][int(aligned) :]
    for frame in source.capture.held_out_frames:
        distances = {}
        for other in training:
            distances[other] = 0.0
            for group in groups:
                learned = group[training]
                variance = float(((learned - learned.mean(0)) ** 2).sum() / len(training))
                distances[other] += float(((group[frame] - group[other]) ** 2).sum()) / max(variance, 1e-18)
        assert int(found.nearest(torch.tensor([frame]))) == min(distances, key=distances.__getitem__)


def test_alignment_recovers_a_similarity_and_moves_the_picture_by_it() -> None:
    points = torch.rand(1, 9, 2, generator=torch.Generator().manual_seed(0)) * 40
    cosine, sine, shift = 1.2 * math.cos(0.3), 1.2 * math.sin(0.3), torch.tensor([5.0, -3.0])
    rotation = torch.tensor([[cosine, -sine], [sine, cosine]])
    moved = points @ rotation.T + shift
    A = similarity(points, moved)
    assert torch.allclose(A[0], torch.cat([rotation, shift[:, None]], 1), atol=1e-4)
    rows, columns = torch.meshgrid(torch.arange(48.0) + 0.5, torch.arange(48.0) + 0.5, indexing="ij")
    ramp = torch.stack([columns, rows])[None]
    looked_up = warped(ramp, A)
    at = torch.tensor([20.5, 14.5])
    assert torch.allclose(looked_up[0, :, 14, 20], rotation @ at + shift, atol=1e-3)


def test_the_judge_is_a_network_that_no_loss_used(tmp_path, monkeypatch, source, head) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setenv(weights.ENVIRONMENT, str(tmp_path))
    assert "no feature weights" in find_judge(("alexnet",), frozenset()).absence
    torch.manual_seed(0)
    state = Extractor("squeezenet1.1", "random", TORCHVISION).state_dict()
    file = tmp_path / weights.PUBLISHED["squeezenet1.1"]
    torch.save(state, file)
    name = weights.load_extractor("squeezenet1.1", file).name
    config = replace(CONFIG, judges=("alexnet", "squeezenet1.1"), every=4)
    judged = evaluate(Oracle(head), source, config, head)
    assert judged.row("avatar", "face", f"feature distance ({name})").value > 0
    assert judged.verdict("avatar", "nearest frame", "face", f"feature distance ({name})") is not None
    unjudged = evaluate(Oracle(head, extractors=frozenset({name})), source, config, head)
    assert not any("distance" in row.metric for row in unjudged.rows)
    assert any(f"training used {name}" in sentence for sentence in unjudged.departures)
