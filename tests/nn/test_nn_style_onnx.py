"""The style networks as ONNX graphs: the same numbers as PyTorch for inputs other than those of the tracing."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from headstudio.nn.feature_generator import FeatureGenerator, FeatureGeneratorConfig, StyleConfig
from headstudio.nn.feature_planes import compose, slide_window
from headstudio.nn.level_widths import LevelWidths
from headstudio.nn.noise_maps import noise_pyramid
from headstudio.nn.style_unet import StyleUNet, StyleUNetConfig
from headstudio.nn.wavelets import synthesise

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")


def _through_onnx(
    network: nn.Module, traced: tuple[Tensor, ...], given: tuple[Tensor, ...], file: Path
) -> list[Tensor]:
    onnxruntime = pytest.importorskip("onnxruntime", reason="the onnx extra is not installed")
    pytest.importorskip("onnx", reason="the onnx extra is not installed")
    names = [f"input{index}" for index in range(len(traced))]
    torch.onnx.export(network.eval(), traced, str(file), input_names=names, opset_version=17, dynamo=False)
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    return [
        torch.from_numpy(found)
        for found in session.run(None, {name: value.numpy() for name, value in zip(names, given, strict=True)})
    ]


class _Painter(nn.Module):
    """Background generator and image U-Net as they run together: plane, window, composition, noise, picture."""

    def __init__(self) -> None:
        super().__init__()
        style, widths = StyleConfig(6, 8, 2), LevelWidths(128, 8)
        self.plane = FeatureGenerator(FeatureGeneratorConfig(side=16, widths=widths, style=style, painted_channels=0))
        self.image = StyleUNet(
            StyleUNetConfig(channels=8, side=8, bottom_side=4, out_side=16, widths=widths, style=style)
        )
        for name, parameter in self.named_parameters():
            if name.endswith(("noise.strength", "bias")):
                nn.init.normal_(parameter)

    def forward(self, codes: Tensor, offset_cells: Tensor, face: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        behind = slide_window(self.plane(codes).features, offset_cells, 8, 8)
        shown = compose(face, 0.5 * face, behind.features, behind.valid)
        features, bands = self.image(shown, codes, noise_pyramid(noise, 2))
        assert bands is not None
        return features, synthesise(bands)


def _inputs(seed: int, offset: tuple[float, float]) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    code, face, noise = (torch.randn(shape, generator=generator) for shape in ((1, 6), (1, 8, 8, 8), (1, 5, 8, 8)))
    return code, torch.tensor([offset]), face, noise


def test_generator_windows_and_unet_give_the_same_numbers(tmp_path) -> None:
    torch.manual_seed(0)
    network, given = _Painter(), _inputs(2, (-2.5, 9.25))
    found = _through_onnx(network, _inputs(1, (3.0, 4.0)), given, tmp_path / "painter.onnx")
    with torch.no_grad():
        wanted = network(*given)
    assert [tuple(picture.shape) for picture in found] == [(1, 8, 16, 16), (1, 3, 32, 32)]
    for one, other in zip(found, wanted, strict=True):
        assert other.abs().max() > 0.1
        assert (one - other).abs().max() < 1e-4


def test_a_unet_of_a_padded_rendering_gives_the_same_numbers(tmp_path) -> None:
    torch.manual_seed(0)
    config = StyleUNetConfig(
        channels=3, side=32, wavelet_input=True, bottom_side=4, out_side=16, widths=LevelWidths(256, 16)
    )
    network = StyleUNet(config)
    given = (torch.randn(1, 3, 32, 32), torch.randn(1, 64))
    found = _through_onnx(network, (torch.zeros(1, 3, 32, 32), torch.ones(1, 64)), given, tmp_path / "unet.onnx")
    with torch.no_grad():
        wanted = network(*given)
    for one, other in zip(found, wanted, strict=True):
        assert (one - other).abs().max() < 1e-4
