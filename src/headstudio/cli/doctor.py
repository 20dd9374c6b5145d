"""`headstudio doctor`: what this machine has and lacks, and the command that mends it."""

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from headstudio.cli.console import Display
from headstudio.cli.failures import FAILED
from headstudio.cli.options import Common, Result
from headstudio.errors import HeadstudioError

LEAST_DISK_GB, LEAST_MEMORY_GB = 5.0, 6.0
"""Below these a draft of a short clip may not run to its end."""
GIGABYTE = 1e9


@dataclass(frozen=True, kw_only=True)
class Options(Common):
    """Look at this machine. Ends with an error only where something is missing without which nothing works."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    name: str
    state: Literal["good", "optional", "missing"]
    """Optional: not there, and nothing needs it; missing: without it headstudio does not work."""
    found: str
    mend: str = ""
    """What to do about it."""


def run(options: Options, display: Display) -> Result:
    """Examine the machine."""
    findings = [found for look in LOOKS for found in _looked(look)]
    marks = {"good": " ok ", "optional": " -- ", "missing": "MISS"}
    width = max(len(finding.name) for finding in findings)
    lines = [
        f"[{marks[f.state]}] {f.name:<{width}}  {f.found}" + (f"\n{'':<{width + 8}}-> {f.mend}" if f.mend else "")
        for f in findings
    ]
    missing = [finding for finding in findings if finding.state == "missing"]
    if missing:
        lines.append(f"headstudio cannot work without {', '.join(finding.name for finding in missing)}.")
    content = {"findings": [asdict(finding) for finding in findings], "works": not missing}
    return Result("\n".join(lines), content, FAILED if missing else 0)


def _looked(look: "Callable[[], Iterator[Finding]]") -> list[Finding]:
    try:
        return list(look())
    except Exception as error:  # a broken library may fail in any way; the doctor reports it and looks on
        return [Finding(look.__name__.strip("_"), "missing", *_explained(error))]


def _explained(error: Exception) -> tuple[str, str]:
    if isinstance(error, HeadstudioError):
        return error.what, error.next_step
    return " ".join(str(error).split())[:200] or type(error).__name__, "pip install --force-reinstall headstudio"


def _python() -> Iterator[Finding]:
    version = platform.python_version()
    known = (3, 10) <= sys.version_info[:2] <= (3, 12)
    yield Finding(
        "python",
        "good" if known else "missing",
        f"{version} on {platform.platform()}",
        "" if known else "use 3.10 to 3.12",
    )


def _torch() -> Iterator[Finding]:
    import torch

    yield Finding("torch", "good", f"{torch.__version__}, {torch.get_num_threads()} threads")
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
        yield Finding("gpu", "good", ", ".join(names))
    elif torch.backends.mps.is_available():
        yield Finding("gpu", "good", "Apple (mps), for networks only")
    else:
        yield Finding("gpu", "optional", "none: the draft preset is made for this")


def _warp() -> Iterator[Finding]:
    import warp

    from headstudio.render.kernels.launching import initialise

    initialise()
    devices = ", ".join(device.alias for device in warp.get_devices())
    yield Finding("warp", "good", f"{warp.config.version}, devices {devices}; its kernels are compiled at first use")


def _opencv() -> Iterator[Finding]:
    try:
        import cv2
    except ImportError as error:
        yield Finding("opencv", "missing", str(error), "on Debian and Ubuntu: sudo apt-get install libgl1 libglib2.0-0")
    else:
        yield Finding("opencv", "good", f"{cv2.__version__}, libGL found")


def _mediapipe() -> Iterator[Finding]:
    found = importlib.metadata.version("mediapipe")
    there = importlib.util.find_spec("mediapipe.python") is not None
    mend = "" if there else "pip install mediapipe==0.10.14"
    yield Finding("mediapipe", "good" if there else "missing", found, mend)


def _video() -> Iterator[Finding]:
    import av
    from av.codec import codecs_available

    lacking = sorted({"h264", "hevc", "libx264", "aac"} - set(codecs_available))
    found = f"PyAV {av.__version__}" + (f", without {', '.join(lacking)}" if lacking else ", H.264 and HEVC")
    yield Finding(
        "video", "missing" if lacking else "good", found, "pip install --force-reinstall av" if lacking else ""
    )


def _heads() -> Iterator[Finding]:
    from headstudio.heads import head_names, load_head
    from headstudio.tracking.config import TrackingConfig

    for name in head_names():
        try:
            head = load_head(name)
        except Exception as error:  # most often a head whose file only the user can have
            state = "missing" if name == TrackingConfig.head else "optional"
            yield Finding(f"head {name}", state, *_explained(error))
        else:
            yield Finding(f"head {name}", "good", f"{head.vertices} vertices; {head.data.licence}")


def _methods() -> Iterator[Finding]:
    from headstudio.training import registry

    for kind in registry.KINDS:
        names = registry.registered(kind)
        for name in names:
            registry.find(kind, name)
        if names:
            yield Finding(kind, "good", ", ".join(names))


def _optional_packages() -> Iterator[Finding]:
    for module, extra, purpose in (
        ("onnxruntime", "onnx", "runs ONNX providers and exported avatars"),
        ("onnxscript", "onnx", "exports avatars to ONNX"),
        ("pycolmap", "scan", "finds the cameras of a scan"),
        ("tensorboard", "tensorboard", "training curves"),
    ):
        if importlib.util.find_spec(module) is None:
            yield Finding(module, "optional", f"not installed; {purpose}", f"pip install 'headstudio[{extra}]'")
        else:
            yield Finding(module, "good", importlib.metadata.version(module))


def _weights() -> Iterator[Finding]:
    from headstudio.nn.extractors import KINDS
    from headstudio.nn.weights import ENVIRONMENT, find_weights

    found = [kind for kind in KINDS if find_weights(kind) is not None]
    if found:
        yield Finding("feature weights", "good", ", ".join(found))
    else:
        mend = f"put weight files into a folder and name it in {ENVIRONMENT}"
        yield Finding("feature weights", "optional", "none: a gradient and SSIM term stands in for them", mend)


def _disk() -> Iterator[Finding]:
    free_gb = shutil.disk_usage(Path.cwd()).free / GIGABYTE
    tight = free_gb < LEAST_DISK_GB
    yield Finding(
        "disk", "optional" if tight else "good", f"{free_gb:.0f} GB free here", "free some space" if tight else ""
    )


def _memory() -> Iterator[Finding]:
    try:
        total_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIGABYTE
    except (AttributeError, ValueError, OSError):  # Windows does not tell without a package of its own
        return
    tight = total_gb < LEAST_MEMORY_GB
    found = f"{total_gb:.0f} GB, {os.cpu_count()} processors"
    yield Finding("memory", "optional" if tight else "good", found, "choose a smaller --size" if tight else "")


LOOKS: "tuple[Callable[[], Iterator[Finding]], ...]" = (
    _python,
    _torch,
    _warp,
    _opencv,
    _mediapipe,
    _video,
    _heads,
    _methods,
    _optional_packages,
    _weights,
    _disk,
    _memory,
)
"""Everything that is looked at, in order."""
