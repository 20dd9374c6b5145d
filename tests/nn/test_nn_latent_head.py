"""The networks of a latent head beside its planes: published sizes, gradients, the same numbers in ONNX, bad input."""

import pytest
import torch

from headstudio.errors import HeadstudioError
from headstudio.nn.face_autoencoder import (
    CodeMapping,
    FaceDecoder,
    FaceDecoderConfig,
    FaceEncoder,
    FaceEncoderConfig,
    FaceNeck,
)
from headstudio.nn.super_resolution import SuperResolution, SuperResolutionConfig
from headstudio.nn.volume_field import VolumeField, VolumeFieldConfig

PUBLISHED = [
    (lambda: SuperResolution(), 2_092_131),
    (lambda: FaceEncoder(), 4_582_976),
    (lambda: FaceNeck(), 17_860_608),
    (lambda: FaceDecoder(), 7_744_323),
    (lambda: CodeMapping(), 164_480),
    (lambda: VolumeField(), 32 * 128 + 128 + 128 + 1 + 59 * 128 + 128 + 128 * 32 + 32),
]
"""Parameters of paper 5's public code, counted there; those of the field follow from its widths."""

SMALL_ENCODER = FaceEncoderConfig(side_px=32, width=4, code=12)
SMALL_DECODER = FaceDecoderConfig(code=12, width=16, side_px=32)
SMALL = [
    (lambda: SuperResolution(SuperResolutionConfig(6, 8, 2)), [(2, 6, 8, 12)], (2, 3, 32, 48)),
    (lambda: SuperResolution(SuperResolutionConfig(6, 8, 0)), [(1, 6, 8, 8)], (1, 3, 8, 8)),
    (lambda: FaceEncoder(SMALL_ENCODER), [(3, 3, 32, 32)], (3, 12)),
    (lambda: FaceNeck(SMALL_DECODER), [(2, 12)], (2, 16, 16, 16)),
    (lambda: FaceDecoder(SMALL_DECODER), [(2, 16, 16, 16)], (2, 3, 32, 32)),
    (lambda: CodeMapping(12, 5, 9, 3), [(4, 12)], (4, 5)),
    (lambda: VolumeField(VolumeFieldConfig(features=8, width=16, values=7)), [(9, 8), (9, 3)], (9, 7)),
    (lambda: VolumeField(VolumeFieldConfig(features=8, width=16, view_octaves=-1)), [(9, 8), (9, 3)], (9, 32)),
]


def made(build, shapes):
    torch.manual_seed(0)
    return build(), [torch.rand(shape) for shape in shapes]


def last(found):
    return found[-1] if isinstance(found, tuple) else found


@pytest.mark.parametrize(("build", "parameters"), PUBLISHED)
def test_the_defaults_have_the_published_size(build, parameters):
    with torch.device("meta"):
        assert sum(parameter.numel() for parameter in build().parameters()) == parameters


@pytest.mark.parametrize(("build", "shapes", "expected"), SMALL)
def test_shapes_are_as_said_and_a_gradient_reaches_all(build, shapes, expected):
    network, inputs = made(build, shapes)
    inputs[0].requires_grad_()
    found = network(*inputs)
    assert last(found).shape == expected
    parts = found if isinstance(found, tuple) else (found,)
    generator = torch.Generator().manual_seed(1)
    sum((part * torch.randn(part.shape, generator=generator)).sum() for part in parts).backward()
    # A bias before a normalisation moves nothing.
    biases = [name for name, p in network.named_parameters() if name.endswith("bias") and p.grad.abs().max() < 1e-6]
    for name, parameter in network.named_parameters():
        assert name in biases or parameter.grad.abs().sum() > 0, name
    assert inputs[0].grad.abs().sum() > 0


@pytest.mark.parametrize(("build", "shapes", "expected"), SMALL)
def test_each_entry_depends_on_its_own_input_only(build, shapes, expected):
    network, inputs = made(build, shapes)
    alone = torch.cat([last(network(*(each[i : i + 1] for each in inputs))) for i in range(len(inputs[0]))])
    torch.testing.assert_close(alone, last(network(*inputs)), atol=1e-5, rtol=1e-5)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the exporter itself
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize(("build", "shapes", "expected"), SMALL)
def test_onnx_gives_the_same_numbers(tmp_path, build, shapes, expected):
    onnxruntime = pytest.importorskip("onnxruntime", reason="the onnx extra is not installed")
    pytest.importorskip("onnx", reason="the onnx extra is not installed")
    network, inputs = made(build, shapes)
    network.eval()
    names = [f"input{i}" for i in range(len(inputs))]
    file = tmp_path / "network.onnx"
    torch.onnx.export(network, tuple(inputs), str(file), input_names=names, opset_version=17, dynamo=False)
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    others = [torch.rand_like(each) for each in inputs]
    kept = {each.name for each in session.get_inputs()}
    fed = {name: other.numpy() for name, other in zip(names, others, strict=True) if name in kept}
    found = torch.from_numpy(session.run(None, fed)[-1])
    with torch.no_grad():
        assert (found - last(network(*others))).abs().max() < 1e-4


@pytest.mark.parametrize("kind", ["softplus", "relu"])
def test_density_is_never_negative_and_is_scaled(kind):
    torch.manual_seed(0)
    field = VolumeField(VolumeFieldConfig(8, 16, density=kind, density_per_m=50.0, start=0.0))
    features, directions = torch.randn(200, 8) * 5, torch.randn(200, 3)
    density, _ = field(features, directions)
    assert (density >= 0).all()
    more, _ = VolumeField.forward(field, features, directions, torch.full((200,), 1000.0))
    torch.testing.assert_close(more.mean(), torch.tensor(50.0 * 1000), rtol=0.01, atol=0)
    if kind == "softplus":
        assert (density > 0).all()


def test_the_view_changes_the_colour_and_never_the_density():
    field = VolumeField(VolumeFieldConfig(8, 16))
    features = torch.randn(5, 8)
    one, other = field(features, torch.eye(3)[[0] * 5]), field(features, torch.eye(3)[[1] * 5])
    assert torch.equal(one[0], other[0])
    assert (one[1] - other[1]).abs().min() > 0
    blind = VolumeField(VolumeFieldConfig(8, 16, view_octaves=-1))
    assert torch.equal(blind(features, torch.eye(3)[[0] * 5])[1], blind(features, torch.eye(3)[[1] * 5])[1])


@pytest.mark.parametrize(("kind", "power"), [("variance", -1), ("deviation", 0), ("none", 1)])
def test_codes_are_normalised_as_the_option_says(kind, power):
    """A code ten times as large: one tenth, the same, or ten times as large after its normalisation."""
    torch.manual_seed(0)
    encoder = FaceEncoder(FaceEncoderConfig(side_px=32, width=4, code=12, normalisation=kind))
    crops = torch.rand(3, 3, 32, 32)
    code = encoder(crops)
    with torch.no_grad():
        encoder.output.weight *= 10
        encoder.output.bias *= 10
    torch.testing.assert_close(encoder(crops), code * 10.0**power, rtol=2e-3, atol=1e-4)


def test_a_code_without_spread_is_finite():
    encoder = FaceEncoder(SMALL_ENCODER)
    torch.nn.init.zeros_(encoder.output.weight)
    torch.nn.init.zeros_(encoder.output.bias)
    assert encoder(torch.rand(1, 3, 32, 32)).isfinite().all()


def test_the_y_shape_learns_two_faces_with_one_encoder():
    """Two subjects of one colour each: their decoders tell them apart, though the encoder is shared."""
    torch.manual_seed(0)
    encoder, neck = FaceEncoder(SMALL_ENCODER), FaceNeck(SMALL_DECODER)
    decoders = torch.nn.ModuleList([FaceDecoder(SMALL_DECODER), FaceDecoder(SMALL_DECODER)])
    players = torch.nn.ModuleList([encoder, neck, decoders])
    optimiser = torch.optim.Adam(players.parameters(), 1e-2)
    ramp = torch.linspace(0, 1, 32).expand(1, 1, 32, 32)
    subjects = [ramp * torch.tensor([1.0, 0.3, 0.1])[:, None, None], 1 - 0.5 * ramp.mT.expand(1, 3, 32, 32)]
    first = None
    for _ in range(40):
        losses = [(d(neck(encoder(s))) - s).abs().mean() for d, s in zip(decoders, subjects, strict=True)]
        loss = sum(losses)
        first = first or float(loss.detach())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert float(loss.detach()) < 0.4 * first


@pytest.mark.parametrize(
    "build",
    [
        lambda: SuperResolution(SuperResolutionConfig(6, 10, 2)),
        lambda: SuperResolution(SuperResolutionConfig(0, 8, 2)),
        lambda: SuperResolution(SuperResolutionConfig(6, 8, -1)),
        lambda: FaceEncoder(FaceEncoderConfig(side_px=100)),
        lambda: FaceEncoder(FaceEncoderConfig(side_px=8)),
        lambda: FaceEncoder(FaceEncoderConfig(side_px=0)),
        lambda: FaceDecoder(FaceDecoderConfig(side_px=16)),
        lambda: FaceDecoder(FaceDecoderConfig(side_px=48)),
        lambda: FaceDecoder(FaceDecoderConfig(width=12, side_px=128)),
        lambda: VolumeField(VolumeFieldConfig(values=2)),
        lambda: VolumeField(VolumeFieldConfig(features=0)),
        lambda: VolumeField(VolumeFieldConfig(density_per_m=0.0)),
    ],
)
def test_sizes_that_cannot_be_are_refused(build):
    with pytest.raises(HeadstudioError):
        build()
