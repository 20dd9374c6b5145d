"""What a method, a driver or an encoder must offer. The rest of the program asks only this, never which class it is."""

import abc
import enum
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor, nn

from headstudio.records.capture import Annotation, Capture
from headstudio.records.channels import Channel, Channels, Rendering, Scene, View, to_device
from headstudio.records.mesh import MeshAsset
from headstudio.records.motion import Motion
from headstudio.records.scan import Scan
from headstudio.records.track import HeadIdentity, Track
from headstudio.training.stages import Player, Stage

Role: TypeAlias = str
TARGET: Role = "target"
"""The person the avatar is of; other roles belong to drivers (actor) and pre-training."""


@dataclass(frozen=True)
class Source:
    """A performance to learn from: what was filmed and how it moved."""

    capture: Capture
    track: Track
    scan: Scan | None = None
    """Who the person is, where clip A was filmed; methods that know what to do with it do."""

    @property
    def key(self) -> str:
        """Identifies the source in per-frame tables."""
        return self.capture.identifier

    @property
    def motion(self) -> Motion:
        """The tracked signals of the performance."""
        return self.track.motion()

    def motion_with(self, wanted: Collection[Channel]) -> Motion:
        """The tracked signals, and of the wanted ones those that are read from the pictures of the face."""
        from headstudio.capture.face_signals import face_signals  # OpenCV is slow to import

        return self.motion.with_channels(face_signals(self.capture, wanted))


Sources: TypeAlias = Mapping[Role, tuple[Source, ...]]


@dataclass(frozen=True)
class Batch:
    """Some frames of one source, on the training device."""

    role: Role
    source_key: str
    frames: Int[Tensor, " batch"]
    channels: Channels
    view: View
    scene: Scene
    confidence: Float[Tensor, " batch"]
    image: Float[Tensor, "batch 3 height width"] | None = None
    """sRGB in [0, 1]."""
    matte: Float[Tensor, "batch 1 height width"] | None = None
    """Person matte in [0, 1]; None where the capture has none."""
    valid: Bool[Tensor, "1 1 height width"] | None = None
    """False in padding: every loss honours it."""
    landmarks_px: Float[Tensor, "batch 478 3"] | None = None
    parsing: UInt8[Tensor, "batch 1 height width"] | None = None
    """Values of `headstudio.heads.parsing.Label`; None where the capture has none or the sampler does not ask."""
    normals: Float[Tensor, "batch 3 height width"] | None = None
    """Unit, in camera axes and out of the surface, 0 where unknown; None as above."""


class Capability(str, enum.Enum):
    """What an avatar can do; viewer, exporters and live use read only this."""

    SURFACE = "surface"
    TEXTURE = "texture"
    ALPHA = "alpha"
    NOVEL_VIEW = "novel_view"
    BACKGROUND = "background"
    RELIGHT = "relight"
    REALTIME = "realtime"


class Trainable(nn.Module, abc.ABC):
    """Anything that learns from captures."""

    Config: ClassVar[type]
    """Frozen dataclass tree; each default in one place."""
    presets: ClassVar[Mapping[str, Any]]
    """Configurations by preset name; draft, standard and paper at least."""
    needs: ClassVar[frozenset[Annotation]] = frozenset()
    """Annotations without which training does not start."""
    uses: ClassVar[frozenset[Annotation]] = frozenset()
    """Annotations that it makes use of where a capture has them; `make` adds those that need no model of the user's."""
    roles: ClassVar[frozenset[Role]] = frozenset({TARGET})
    """Roles that must have a source."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.config = config

    @abc.abstractmethod
    def setup(self, sources: Sources) -> None:
        """Allocate what depends on the data. Runs once before training and never when weights are loaded."""

    def attach(self, sources: Sources) -> None:
        """Told the sources after `setup`, and again when a stopped training goes on: for what is read from captures
        step by step and belongs in no checkpoint."""

    @abc.abstractmethod
    def stages(self) -> tuple[Stage, ...]:
        """The schedule."""

    def signals(self, source: Source) -> dict[Channel, Tensor]:
        """Signals of all frames of a source that it works out once, when a stage begins; batches bring them along."""
        return {}

    @abc.abstractmethod
    def losses(self, batch: Batch, stage: Stage, player: Player) -> dict[str, Tensor]:
        """The player's loss terms by name, unweighted scalars; exactly the names in `player.losses`."""

    def on_event(self, name: str) -> None:
        """Something that a stage scheduled; may replace parameters by others of another shape."""
        raise NotImplementedError(f"{type(self).__name__} does not know the event {name!r}")

    def state(self) -> dict[str, Any]:
        """Plain data beside the tensors that `restore` needs to rebuild what `setup` made."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Rebuild the modules that `setup` made, without sources; tensors follow, whatever their shapes."""

    def notes(self) -> tuple[str, ...]:
        """Sentences for reports and the model card: substitutes in use, missing parts, measured choices."""
        return ()

    @property
    def loss_extractors(self) -> frozenset[str]:
        """Names of the feature extractors its losses use; they may not judge it."""
        return frozenset()


@dataclass(frozen=True)
class TensorSpec:
    """One input or output of a run-time graph."""

    name: str
    shape: tuple[int, ...]
    """Without the leading batch dimension."""


@dataclass(frozen=True)
class Repainting:
    """How a picture that the graph paints changes the texture of `surface()`, for engines that shade it themselves.

    Static texture, mask and painted picture are each looked up at the surface point, in sRGB, before light falls on it.
    """

    output: str
    """The graph's output (3, rows, columns) that is stretched over the whole atlas."""
    static: UInt8[Tensor, "3 height width"]
    """The texture under it, sRGB; albedo where there is a light."""
    blend: UInt8[Tensor, "1 height width"]
    """255 where the painted picture shows."""
    residual: bool
    """static + blend * painted; otherwise static + blend * (sigmoid(painted) - static)."""
    light_sh: Float[Tensor, "9 3"] | None
    """Irradiance in world axes that multiplies the colour in linear light; None shows the colour as it is."""


class Baker(abc.ABC):
    """Makes the texture of `surface()` in single frames, by more than one graph and in its own time."""

    @abc.abstractmethod
    def bake(self, channels: Channels) -> UInt8[Tensor, "3 height width"]:
        """The whole texture, sRGB, in the expression of one frame, at the size of that of `surface()`."""


class Runtime(abc.ABC):
    """How an avatar runs without PyTorch: signals in, one ONNX graph, picture out."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    @abc.abstractmethod
    def prepare(self, channels: Channels, view: View) -> dict[str, Tensor]:
        """The graph's inputs; head orientation is made relative to this view's camera here."""

    @abc.abstractmethod
    def graph(self) -> nn.Module:
        """A traceable module from the inputs, in order, to the tuple of outputs, in order."""

    @abc.abstractmethod
    def composite(self, outputs: Mapping[str, Tensor], channels: Channels, view: View, scene: Scene) -> Rendering:
        """The picture made of the graph's outputs."""

    def repainting(self) -> Repainting | None:
        """How the graph repaints the surface; None where it does something else."""
        return None

    def baker(self) -> Baker | None:
        """What bakes pictures of the surface's texture where no `repainting` does; None where it does not change."""
        return None


_CODED_AT_ONCE = 32


class AvatarModel(Trainable):
    """A method: a trained head that can be rendered."""

    capabilities: ClassVar[frozenset[Capability]]

    @property
    @abc.abstractmethod
    def driven_by(self) -> tuple[frozenset[Channel], ...]:
        """The sets of channels it accepts, preferred first."""

    @property
    def consumes(self) -> frozenset[Channel]:
        """All channels of which it can make use, as of a driver."""
        return frozenset[Channel]().union(*self.driven_by)

    @property
    @abc.abstractmethod
    def identity(self) -> HeadIdentity:
        """Whose head it is, for retargeting."""

    @abc.abstractmethod
    def render(self, channels: Channels, view: View, scene: Scene) -> Rendering:
        """The one way out: viewer, evaluation and driving use it."""

    @abc.abstractmethod
    def runtime(self) -> Runtime:
        """The run-time form; export, web and live use only this."""

    def encode(self, channels: Channels) -> dict[Channel, Tensor]:
        """Its own latent code of pictures of its own person; empty for avatars that have none."""
        return {}

    def codes(self, source: Source) -> dict[Channel, Tensor]:
        """Its own latent code of every frame of a capture of its own person: what drivers learn to say."""
        signals = source.motion_with(self.consumes)
        device = next((p.device for p in self.parameters()), torch.device("cpu"))
        found: dict[Channel, list[Tensor]] = {}
        with torch.no_grad():
            for start in range(0, len(signals), _CODED_AT_ONCE):
                some = signals.at(range(start, min(start + _CODED_AT_ONCE, len(signals))))
                for channel, values in self.encode(to_device(some, device)).items():
                    found.setdefault(channel, []).append(values.cpu())
        return {channel: torch.cat(values) for channel, values in found.items()}

    def surface(self) -> MeshAsset:
        """The textured, morphable mesh of avatars that declare SURFACE."""
        raise NotImplementedError(f"{type(self).__name__} does not declare SURFACE")

    def baselines(self) -> dict[str, "AvatarModel"]:
        """Weaker versions of itself that evaluation sets beside it."""
        return {}


State: TypeAlias = Mapping[str, Tensor]


class Encoder(Trainable):
    """Turns one frame's channels into others: a picture into features or a code."""

    consumes: ClassVar[frozenset[Channel]]

    @property
    @abc.abstractmethod
    def produces(self) -> frozenset[Channel]:
        """The channels it adds."""

    @abc.abstractmethod
    def encode(self, channels: Channels) -> dict[Channel, Tensor]:
        """The produced channels of a batch of frames."""


class Driver(Trainable):
    """Turns a source's signals into the channels of one avatar, frame after frame."""

    consumes: frozenset[Channel]
    """What it reads; of one that is built, what its configuration makes it read."""
    context: int = 1
    """Frames of memory."""

    def bind(self, avatar: AvatarModel) -> None:
        """Told the avatar to drive, before `setup` or `restore`; the avatar itself never learns."""

    @property
    @abc.abstractmethod
    def produces(self) -> frozenset[Channel]:
        """The channels it gives the avatar."""

    def start(self, batch: int) -> State:
        """The memory before the first frame."""
        return {}

    def introduce(self, rest: Channels, state: State) -> State:
        """The memory once it is known how the actor of each sequence looks at rest: one row of signals each."""
        return state

    @abc.abstractmethod
    def step(self, channels: Channels, state: State) -> tuple[dict[Channel, Tensor], State]:
        """One frame of every sequence of the batch; offline driving is the loop of `step`."""
