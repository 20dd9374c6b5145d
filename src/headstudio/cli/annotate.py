"""`headstudio annotate`: what the pixels of a tracked capture show, and which way their surface faces."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from headstudio.cli.console import Display
from headstudio.cli.options import Common, Result
from headstudio.errors import HeadstudioError

if TYPE_CHECKING:
    from headstudio.capture.painters import Painter
    from headstudio.records.capture import Capture

AUTO, NONE = "auto", "none"


@dataclass(frozen=True, kw_only=True)
class Options(Common):
    """Add to a capture what methods may need beside landmarks and mattes: a label for every pixel (skin, neck, ears,
    eyes, mouth, hair, cloth) and normal maps. What is there already, made from the same, is kept."""

    capture: Annotated[Positional[Path], arg(metavar="CAPTURE")]
    """The capture folder."""
    parsing: Annotated[str, arg(metavar="auto|none|MODEL")] = AUTO
    """Where labels come from: `auto` tells them by matte, tracked head and colours; or an ONNX or TFLite face parser,
    whose classes a JSON beside it names."""
    normals: Annotated[str, arg(metavar="none|MODEL|FOLDER")] = NONE
    """Where normals come from: an ONNX or TFLite estimator, or a folder with a normal map for each frame."""
    track: Annotated[Path | None, arg(metavar="TRACK")] = None
    """The capture's track, for `auto`; the one inside the capture when not given."""


def run(options: Options, display: Display) -> Result:
    """Annotate the capture."""
    from headstudio.capture.annotating import annotate
    from headstudio.records.capture import Annotation, Capture

    if options.parsing == options.normals == NONE:
        raise HeadstudioError("neither parsing nor normals are asked for", next_step="give --parsing or --normals")
    capture = Capture.load(options.capture)
    if options.parsing != NONE:
        capture = annotate(capture, Annotation.PARSING, _labels(options, capture), display)
    if options.normals != NONE:
        capture = annotate(capture, Annotation.NORMALS, _normals(Path(options.normals), capture), display)
    content = {"capture": capture.path, "annotations": sorted(kind.value for kind in capture.annotations)}
    return Result(f"{capture.path} has {', '.join(content['annotations'])}.", content)


def _labels(options: Options, capture: "Capture") -> "Painter":
    from headstudio.capture.painters import NetworkLabels

    if options.parsing == AUTO:
        return head_labels(options.capture, options.track)
    return NetworkLabels(capture, Path(options.parsing))


def _normals(path: Path, capture: "Capture") -> "Painter":
    from headstudio.capture.painters import GivenNormals, NetworkNormals

    return GivenNormals(capture, path) if path.is_dir() else NetworkNormals(capture, path)


def head_labels(capture: Path, track: Path | None = None) -> "Painter":
    """Labels of a tracked capture without a network."""
    from headstudio.capture.painters import HeadLabels
    from headstudio.cli.sources import load_source
    from headstudio.heads import load_head

    source = load_source(capture, track)
    return HeadLabels(source.capture, source.track, load_head(source.track.identity.head))
