"""The smallest method: one flat picture whose colour follows the expression, or a code."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from headstudio.records.channels import ARKIT, HEAD_POSE, Channel, Channels, Rendering, Scene, View, latent_of
from headstudio.records.mesh import MeshAsset, MeshPart
from headstudio.records.track import HeadIdentity
from headstudio.training.contract import AvatarModel, Batch, Capability, Runtime, Sources, TensorSpec
from headstudio.training.stages import Optimiser, Player, Sampler, Stage

CODE = latent_of("toy-code")


@dataclass(frozen=True)
class PlainConfig:
    """Everything about the toy."""

    steps: int = 12
    """Training steps."""
    size_px: int = 16
    """Side of training pictures."""


class PlainRuntime(Runtime):
    """ARKit weights in, a colour out."""

    def __init__(self, avatar: "PlainToy") -> None:
        self.avatar = avatar
        self.inputs = (TensorSpec("arkit", (52,)),)
        self.outputs = (TensorSpec("colour", (3,)),)

    def prepare(self, channels: Channels, view: View) -> dict[str, Tensor]:
        return {"arkit": self.avatar.signal(channels)}

    def graph(self) -> nn.Module:
        return self.avatar.colour

    def composite(self, outputs: Mapping[str, Tensor], channels: Channels, view: View, scene: Scene) -> Rendering:
        colour = outputs["colour"].sigmoid()
        rgb = colour[:, :, None, None].expand(-1, -1, view.camera.height_px, view.camera.width_px)
        return Rendering(rgb=rgb, alpha=torch.ones_like(rgb[:, :1]))


class PlainToy(AvatarModel):
    Config = PlainConfig
    presets: ClassVar[Mapping[str, Any]] = {
        "draft": PlainConfig(),
        "standard": PlainConfig(steps=24),
        "paper": PlainConfig(steps=48),
    }
    capabilities = frozenset({Capability.SURFACE, Capability.REALTIME})

    def __init__(self, config: PlainConfig) -> None:
        super().__init__(config)
        self.colour = nn.Linear(52, 3)
        self.code = nn.Linear(4, 52)
        nn.init.zeros_(self.colour.weight)
        self.head = ""
        self.register_buffer("identity_coefficients", torch.zeros(0))

    @property
    def driven_by(self) -> tuple[frozenset[Channel], ...]:
        return (frozenset({ARKIT, HEAD_POSE}), frozenset({CODE}))

    @property
    def identity(self) -> HeadIdentity:
        return HeadIdentity(self.head, self.identity_coefficients)

    def setup(self, sources: Sources) -> None:
        found = sources["target"][0].track.identity
        self.head, self.identity_coefficients = found.head, found.coefficients.clone()

    def state(self) -> dict[str, Any]:
        return {"head": self.head}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.head = state["head"]

    def stages(self) -> tuple[Stage, ...]:
        player = Player("painter", ("colour.*",), {"colour": 1.0}, Optimiser(learning_rate=0.05), ema=0.5)
        return (Stage("paint", self.config.steps, (player,), Sampler(2, self.config.size_px)),)

    def losses(self, batch: Batch, stage: Stage, player: Player) -> dict[str, Tensor]:
        rendering = self.render(batch.channels, batch.view, batch.scene)
        return {"colour": ((rendering.rgb - batch.image).abs() * batch.valid).mean()}

    def signal(self, channels: Channels) -> Tensor:
        return channels[ARKIT] if ARKIT in channels else self.code(channels[CODE])

    def render(self, channels: Channels, view: View, scene: Scene) -> Rendering:
        runtime = self.runtime()
        inputs = runtime.prepare(channels, view)
        return runtime.composite({"colour": runtime.graph()(*inputs.values())}, channels, view, scene)

    def runtime(self) -> Runtime:
        return PlainRuntime(self)

    def surface(self) -> MeshAsset:
        corners = torch.tensor([[-0.1, 0.0, 0.0], [0.1, 0.0, 0.0], [0.0, 0.2, 0.0]])
        triangles = torch.tensor([[0, 1, 2]])
        return MeshAsset(
            name="toy",
            vertices_m=corners,
            triangles=triangles,
            uv=torch.tensor([[0.0, 1.0], [1.0, 1.0], [0.5, 0.0]]),
            uv_triangles=triangles,
            target_names=("jawOpen",),
            target_displacements_m=torch.tensor([[[0.0, -0.01, 0.0]] * 3]),
            joint_names=("root",),
            joint_parents=(-1,),
            joint_positions_m=torch.zeros(1, 3),
            skin_weights=torch.ones(3, 1),
            texture=torch.full((3, 4, 4), 128, dtype=torch.uint8),
            parts=(MeshPart("skin", torch.tensor([True])),),
        )
