"""`headstudio import`: a peer's tracked dataset becomes a capture."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from headstudio.cli.console import Display
from headstudio.cli.options import Common, Result
from headstudio.datasets.config import ImportConfig


@dataclass(frozen=True, kw_only=True)
class Options(Common):
    """Read a tracked dataset in the layout of INSTA or GaussianAvatars (VHAP, NeRSemble): its pictures, masks, cameras
    and split become a capture; its FLAME parameters a track, if HEADSTUDIO_FLAME names your FLAME file."""

    folder: Annotated[Positional[Path], arg(metavar="FOLDER")]
    """The dataset: the folder of transforms.json or transforms_train.json."""
    output: Annotated[Path, arg(aliases=["-o"], metavar="CAPTURE")]
    """The capture folder to write; one that is there is replaced when all has gone well."""
    config: Annotated[ImportConfig, arg(name="")] = field(default_factory=ImportConfig)
    """How."""


def run(options: Options, display: Display) -> Result:
    """Import the dataset."""
    from headstudio.datasets.importing import import_dataset
    from headstudio.report.preflight import write_preflight

    imported = import_dataset(options.folder, options.output, options.config, display)
    capture, tracked = imported.capture, imported.track is not None
    train, held_out = len(capture.train_frames), len(capture.held_out_frames)
    write_preflight(options.output / "preflight.html", capture)
    content = {
        "capture": capture.path,
        "frames": capture.frames,
        "size_px": capture.size_px,
        "train_frames": train,
        "held_out_frames": held_out,
        "tracked": tracked,
        "notes": imported.notes,
    }
    text = (
        "".join(f"Note: {note}.\n" for note in imported.notes)
        + f"{options.output}: {capture.frames} frames of {capture.size_px} px, "
        f"{train} to train on, {held_out} held out.\n"
        f"Next: headstudio {'train METHOD' if tracked else 'track'} {options.output}"
    )
    return Result(text, content)
