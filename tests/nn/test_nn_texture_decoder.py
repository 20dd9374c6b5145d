"""The dynamic-texture network: its size as published, its start at zero, and the same numbers in ONNX."""

import pytest
import torch

from headstudio.errors import HeadstudioError
from headstudio.nn.texture_decoder import TextureDecoder, TextureDecoderConfig


def _trained(config: TextureDecoderConfig, inputs: int = 20) -> TextureDecoder:
    torch.manual_seed(0)
    decoder = TextureDecoder(inputs, config)
    torch.nn.init.normal_(decoder.output.weight, std=0.1)
    return decoder.eval()


@pytest.mark.parametrize("side", [64, 256, 512])
@pytest.mark.parametrize("narrowest", [16, 64])
def test_it_fits_the_paper_budget_of_2_mb(side, narrowest) -> None:
    decoder = TextureDecoder(103, TextureDecoderConfig(side=side, narrowest=narrowest))
    assert sum(4 * p.numel() for p in decoder.parameters()) <= 2e6
    assert decoder.expansion.in_channels == 4
    assert decoder.expansion.out_channels == 64


@pytest.mark.parametrize(("side", "upsampling"), [(32, 1), (64, 2)])
def test_it_starts_at_zero_at_the_asked_size_and_can_leave_it(side, upsampling) -> None:
    torch.manual_seed(0)
    decoder = TextureDecoder(7, TextureDecoderConfig(side=side, upsampling=upsampling))
    texture = decoder(torch.randn(3, 7))
    assert texture.shape == (3, 3, side * upsampling, side * upsampling)
    assert texture.abs().max() == 0
    optimiser = torch.optim.Adam(decoder.parameters(), 1e-2)
    signal, wanted = torch.randn(3, 7), torch.rand(3, 1, 1, 1)
    for _ in range(60):
        optimiser.zero_grad()
        loss = (decoder(signal) - wanted).square().mean()
        loss.backward()
        optimiser.step()
    assert loss < 0.1 * wanted.square().mean()
    # Beside the last layer, which starts at zero, every parameter has had a gradient and thus a part in it.
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in decoder.parameters())


def test_each_frame_depends_on_its_own_signal_only() -> None:
    decoder, signal = _trained(TextureDecoderConfig(side=32)), torch.randn(4, 20)
    together, alone = decoder(signal), torch.cat([decoder(row[None]) for row in signal])
    assert torch.allclose(together, alone, atol=1e-6)
    assert (together[0] - together[1]).abs().max() > 1e-3


@pytest.mark.parametrize("side", [8, 48, 100])
def test_a_side_that_cannot_be_doubled_to_is_refused(side) -> None:
    with pytest.raises(HeadstudioError, match=str(side)):
        TextureDecoder(7, TextureDecoderConfig(side=side))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the exporter itself
@pytest.mark.parametrize("upsampling", [1, 2])
def test_onnx_gives_the_same_numbers(tmp_path, upsampling) -> None:
    onnxruntime = pytest.importorskip("onnxruntime", reason="the onnx extra is not installed")
    pytest.importorskip("onnx", reason="the onnx extra is not installed")
    decoder = _trained(TextureDecoderConfig(side=64, upsampling=upsampling))
    file, signal = tmp_path / "decoder.onnx", torch.randn(1, 20)
    torch.onnx.export(
        decoder, (signal,), str(file), input_names=["signal"], output_names=["texture"], opset_version=17, dynamo=False
    )
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    other = torch.randn(1, 20)
    (found,) = session.run(None, {"signal": other.numpy()})
    with torch.no_grad():
        assert (torch.from_numpy(found) - decoder(other)).abs().max() < 1e-4
