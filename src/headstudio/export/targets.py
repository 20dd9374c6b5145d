"""What an avatar can be exported to: one registry, and a door that asks what the avatar declares."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from headstudio.errors import HeadstudioError
from headstudio.export.blender import write_blender
from headstudio.export.clip import with_clip
from headstudio.export.gltf import GltfOptions, write_glb
from headstudio.export.obj import write_obj
from headstudio.export.sequence import BakeOptions, write_baked_glb
from headstudio.export.web import write_web
from headstudio.progress import Progress, Silent
from headstudio.records.motion import Motion
from headstudio.training.contract import AvatarModel, Capability


@dataclass(frozen=True)
class ExportOptions:
    """What only some targets ask for."""

    pose: Mapping[str, float] = field(default_factory=dict)
    """Weights of morph targets by name, for forms that stand still."""
    blender: str | None = None
    """A Blender executable, or a Python that has bpy."""
    gltf: GltfOptions = field(default_factory=GltfOptions)
    """How a .glb is written."""
    bake: BakeOptions | None = None
    """Bake what the network paints during the performance, for engines that flip pictures."""
    progress: Progress = field(default_factory=Silent)
    """Told how far the pictures are."""


@dataclass(frozen=True)
class ExportTarget:
    """A form in which other programs take an avatar."""

    description: str
    """One line for `--help`."""
    suffix: str
    """Of the file's name; empty for a folder."""
    needs: frozenset[Capability]
    """What the avatar must declare."""
    write: Callable[[AvatarModel, Path, Motion | None, ExportOptions], None]
    """Writes an avatar, with a performance if there is one."""
    stands_still: bool = False
    """It takes a pose and no performance; the others the other way round."""
    is_gltf: bool = False
    """It asks how a .glb is written, and a sequence of pictures can be put beside it."""


def _write_glb(avatar: AvatarModel, path: Path, motion: Motion | None, options: ExportOptions) -> None:
    if motion is not None and options.bake is not None:
        write_baked_glb(avatar, path, motion, options.bake, options.gltf, options.progress)
        return
    asset = avatar.surface()
    write_glb(path, asset if motion is None else with_clip(asset, motion), options.gltf)


def _write_web(avatar: AvatarModel, path: Path, motion: Motion | None, options: ExportOptions) -> None:
    write_web(avatar, path, motion)


def _write_obj(avatar: AvatarModel, path: Path, motion: Motion | None, options: ExportOptions) -> None:
    write_obj(path, avatar.surface(), options.pose)


def _write_blender(avatar: AvatarModel, path: Path, motion: Motion | None, options: ExportOptions) -> None:
    write_blender(avatar, path, motion, options.blender)


TARGETS: Mapping[str, ExportTarget] = MappingProxyType(
    {
        "glb": ExportTarget(
            "textured mesh with ARKit blendshapes and a skeleton, for any 3D engine",
            ".glb",
            frozenset({Capability.SURFACE}),
            _write_glb,
            is_gltf=True,
        ),
        "web": ExportTarget(
            "a folder with a page that any static web server shows; the avatar's network runs in the browser",
            "",
            frozenset({Capability.SURFACE}),
            _write_web,
        ),
        "blender": ExportTarget(
            "a Blender scene: materials, shape keys, the performance as an action, accessories, camera and lights",
            ".blend",
            frozenset({Capability.SURFACE}),
            _write_blender,
        ),
        "obj": ExportTarget(
            "a folder with OBJ, MTL and PNG, for programs that know no glTF; the head stands still",
            "",
            frozenset({Capability.SURFACE}),
            _write_obj,
            stands_still=True,
        ),
    }
)
"""Export targets by name."""


def export_avatar(
    avatar: AvatarModel,
    target: str,
    path: Path | str,
    motion: Motion | None = None,
    options: ExportOptions | None = None,
) -> Path:
    """Write an avatar for another program and return where; the suffix is added when it is missing."""
    if target not in TARGETS:
        known = ", ".join(sorted(TARGETS))
        raise HeadstudioError(f"no export target is called {target!r}", next_step=f"choose one of: {known}")
    chosen = TARGETS[target]
    lacking = sorted(capability.value for capability in chosen.needs - avatar.capabilities)
    if lacking:
        raise HeadstudioError(
            f"this avatar cannot become {target}: it does not declare {', '.join(lacking)}",
            next_step="train a method that does, or choose another target",
        )
    options = options or ExportOptions()
    if chosen.stands_still and motion is not None:
        raise HeadstudioError(f"{target} stands still", next_step="leave the performance out, or give a pose")
    if options.pose and not chosen.stands_still:
        raise HeadstudioError(f"{target} takes no pose", next_step="give a performance instead")
    if options.gltf != GltfOptions() and not chosen.is_gltf:
        raise HeadstudioError(f"{target} has its own form of texture", next_step="leave the option out")
    if options.bake is not None and (motion is None or not chosen.is_gltf):
        baking = ", ".join(name for name, other in TARGETS.items() if other.is_gltf)
        raise HeadstudioError(
            "there is no performance to bake" if chosen.is_gltf else f"{target} bakes no pictures",
            next_step=f"export to {baking} with a performance",
        )
    path = Path(path)
    path = path if path.suffix == chosen.suffix else path.with_name(path.name + chosen.suffix)
    chosen.write(avatar, path, motion, options)
    return path
