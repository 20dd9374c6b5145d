"""Features of a face-recognition network, and the perceptual loss on them that Neural Head Avatars uses.

The network is the 18-layer improved residual network of ArcFace (Deng et al. 2019, section 3.1: convolutions between
normalisations, no pooling); parameters carry the names of the weights that its makers and most others publish.
"""

from pathlib import Path

from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from headstudio.errors import HeadstudioError
from headstudio.nn.perceptual import FeatureLoss, relative_l1

WIDTHS = (64, 128, 256, 512)
_BLOCKS = 2
_COMPARED = 1
"""Published: features of the second of the four stages are compared, and the Gram matrices of all."""


class ResidualBlock(nn.Module):
    """Normalise, convolve, normalise, rectify, convolve, normalise; added to what came in."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.prelu = nn.PReLU(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(width)
        down = nn.Sequential(nn.Conv2d(inputs, width, 1, stride, bias=False), nn.BatchNorm2d(width))
        self.downsample = down if stride != 1 or inputs != width else nn.Identity()

    def forward(
        self, values: Float[Tensor, "batch inputs height width"]
    ) -> Float[Tensor, "batch features rows columns"]:
        """Half the size where the stride is 2."""
        inner = self.prelu(self.bn2(self.conv1(self.bn1(values))))
        return self.bn3(self.conv2(inner)) + self.downsample(values)


class FaceFeatures(nn.Module):
    """The convolutional part, frozen: gradients flow to the picture only."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.conv1 = nn.Conv2d(3, WIDTHS[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(WIDTHS[0])
        self.prelu = nn.PReLU(WIDTHS[0])
        inputs = WIDTHS[0]
        for number, width in enumerate(WIDTHS, start=1):
            blocks = [ResidualBlock(inputs, width, 2), *(ResidualBlock(width, width, 1) for _ in range(_BLOCKS - 1))]
            setattr(self, f"layer{number}", nn.Sequential(*blocks))
            inputs = width
        self.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> "FaceFeatures":
        """Stay in evaluation mode: its statistics are those it was trained with."""
        return super().train(False)

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> list[Float[Tensor, "batch features _ _"]]:
        """Features after each of the four stages of sRGB pictures in [0, 1]."""
        values = self.prelu(self.bn1(self.conv1(2 * images - 1)))
        found = []
        for number in range(1, len(WIDTHS) + 1):
            values = getattr(self, f"layer{number}")(values)
            found.append(values)
        return found


class FaceFeatureLoss(FeatureLoss):
    """L1 of the second stage's features and of the Gram matrices of all four, each relative to the target's size."""

    def __init__(self, extractor: FaceFeatures) -> None:
        super().__init__()
        self.extractor = extractor

    def _features(self, images: Tensor) -> list[Tensor]:
        return self.extractor(images)

    def _terms(self, found: list[Tensor], wanted: list[Tensor], mask: Tensor | None) -> list[Tensor]:
        terms = [relative_l1(found[_COMPARED], wanted[_COMPARED])]
        return terms + [relative_l1(_gram(a), _gram(b)) / len(found) for a, b in zip(found, wanted, strict=True)]


def load_face_features(path: Path | str) -> FaceFeatures:
    """The network with the weights of a `.safetensors` file; layers behind the convolutions are passed over.

    Raises:
        HeadstudioError: no such file, or one whose tensors do not fit.
    """
    path = Path(path)
    try:
        stored = load_file(path)
    except (OSError, SafetensorError) as error:
        raise HeadstudioError(
            f"the face-recognition weights cannot be read: {error}", where=path, next_step="name a .safetensors file"
        ) from None
    network = FaceFeatures(f"arcface-r18 {path.stem}")
    own = network.state_dict()
    lacking = sorted(k for k in own if "num_batches" not in k and (k not in stored or stored[k].shape != own[k].shape))
    if lacking:
        raise HeadstudioError(
            f"these are no weights of an 18-layer ArcFace network: {lacking[0]} is missing or of another shape",
            where=path,
            next_step="convert a network of that kind to safetensors",
        )
    network.load_state_dict({key: stored.get(key, value) for key, value in own.items()})
    return network


def _gram(features: Tensor) -> Tensor:
    flat = features.flatten(2)
    return flat @ flat.transpose(1, 2) / flat.shape[2]
