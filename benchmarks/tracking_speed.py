"""Time the tracker: closed form and landmarks alone against the full fit, processes, and the cost of resolution.

    python benchmarks/tracking_speed.py CAPTURE [CAPTURE ...] --repeats 5 --output out/tracking

For a quiet machine. Ways take turns, the first round warms up and is thrown away, every run is kept when it is done.
`speed.md` has ratios, which travel, and absolute times, which belong to the machine that it names. `--profile` tells
instead where the time of one full fit goes, by module.
"""

import argparse
import contextlib
import cProfile
import platform
import pstats
import statistics
import time
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch

from headstudio import storage
from headstudio.progress import Advance
from headstudio.records.capture import Capture
from headstudio.tracking.config import TrackingConfig
from headstudio.tracking.tracker import track
from tracking_tables import markdown
from tracking_variants import changed

SCHEMA, VERSION = "headstudio.benchmark.tracking.speed", 1
_LANDMARKS = {"photometric.enabled": False, "smoothing.enabled": False}
WAYS: dict[str, dict[str, Any]] = {
    "full fit": {},
    "landmarks alone": _LANDMARKS,
    "closed form and one step": {**_LANDMARKS, "solve.iterations": 1},
    "full fit, 2 processes": {"processes": 2},
    "frames at 96 px": {"photometric.sizes_px": (96, 96)},
    "frames at 224 px": {"photometric.sizes_px": (96, 224)},
    "frames at 320 px": {"photometric.sizes_px": (96, 320)},
}
"""Fields of `TrackingConfig` that each way sets; the first is what the others are held against."""
_PER_FRAME = "landmarks"
"""The stage that solves every frame from its landmarks; what comes before it is paid once a clip."""
_SHOWN = 20


class Stopwatch:
    """A listener to progress that adds up the seconds of every stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def stage(self, name: str, total: int | None = None) -> Iterator[Advance]:
        """Time one stage."""
        begun = time.perf_counter()
        yield lambda units: None
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - begun


def ways() -> dict[str, TrackingConfig]:
    """Configurations by name, of those that this tracker knows."""
    known = {field.name for field in fields(TrackingConfig)}
    # One process, unless a way is about more: what is compared is work, not how many share it.
    plain = changed(TrackingConfig(), {"processes": 1} if "processes" in known else {})
    return {
        name: changed(plain, changes)
        for name, changes in WAYS.items()
        if all(path.split(".")[0] in known for path in changes)
    }


def measure(folder: Path, capture: Capture, name: str, config: TrackingConfig, repeat: int) -> dict:
    """One run, from the disk where it is there."""
    place = folder / "speed" / capture.identifier / f"{name}_{repeat}.json"
    if not place.exists():
        watch, begun = Stopwatch(), time.perf_counter()
        track(capture, config, watch)
        seconds = time.perf_counter() - begun
        told = {"seconds": seconds, "stages": watch.seconds, "frames": capture.frames, "machine": machine()}
        storage.write_json(place, SCHEMA, VERSION, told)
        print(f"{name:28s} {repeat}  {seconds:7.1f} s  {capture.frames / seconds:6.1f} frames a second", flush=True)
    return storage.read_json(place, SCHEMA, VERSION)


def machine() -> str:
    """What the times belong to."""
    cpu = next((line for line in _lines(Path("/proc/cpuinfo")) if line.startswith("model name")), platform.processor())
    threads = f"{torch.get_num_threads()} thread(s) a process"
    return f"{cpu.split(':')[-1].strip()}, {threads}, float32, torch {torch.__version__}"


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def table(captures: dict[str, dict[str, list[dict]]]) -> list[str]:
    """A line a way: times of the warm runs, what they are to the first way, and the stages they consist of."""
    lines = []
    for name, by_way in captures.items():
        first = statistics.median(run["seconds"] for run in next(iter(by_way.values())))
        for way, runs in by_way.items():
            seconds = sorted(run["seconds"] for run in runs)
            middle, frames = statistics.median(seconds), runs[0]["frames"]
            stages = ", ".join(f"{stage} {share:.0%}" for stage, share in _shares(runs).items() if share >= 0.01)
            speed = f"{frames / middle:.1f} ({frames / seconds[-1]:.1f})"
            per_frame = statistics.median(run["stages"].get(_PER_FRAME, float("nan")) for run in runs)
            lines.append([name, way, str(frames), speed, f"{frames / per_frame:.0f}", f"{middle / first:.2f}", stages])
    head = [
        "clip", "way", "frames", "frames a second: median (slowest)", f"in the stage '{_PER_FRAME}' alone",
        "time against the first", "stages",
    ]  # fmt: skip
    return markdown(head, lines)


def _shares(runs: list[dict]) -> dict[str, float]:
    total = sum(run["seconds"] for run in runs)
    names = dict.fromkeys(stage for run in runs for stage in run["stages"])
    return {name: sum(run["stages"].get(name, 0.0) for run in runs) / total for name in names}


def profile(capture: Capture) -> list[str]:
    """Own time of one full fit by source file; what C and C++ do counts for the file that asked."""
    recorder = cProfile.Profile()
    recorder.runcall(track, capture, next(iter(ways().values())))
    own: dict[str, float] = {}
    for (file, _, _), (_, _, seconds, _, callers) in pstats.Stats(recorder).stats.items():  # type: ignore[attr-defined]
        if "headstudio" in file or not callers:
            own[_short(file)] = own.get(_short(file), 0.0) + seconds
        else:
            for (caller, _, _), (_, _, share, _) in callers.items():
                own[_short(caller)] = own.get(_short(caller), 0.0) + share
    total = sum(own.values())
    ranked = sorted(own.items(), key=lambda pair: -pair[1])[:_SHOWN]
    return markdown(["file", "share of the time"], [[file, f"{seconds / total:.1%}"] for file, seconds in ranked])


def _short(file: str) -> str:
    return file.split("/headstudio/")[-1] if "/headstudio/" in file else "others: " + Path(file).name


def main() -> None:
    """Measure, then write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("captures", nargs="+", type=Path)
    parser.add_argument("--output", type=Path, default=Path("out/tracking"))
    parser.add_argument("--repeats", type=int, default=5, help="runs that count, of every way")
    parser.add_argument("--profile", action="store_true", help="where the time of one full fit goes")
    options = parser.parse_args()
    captures = {
        path.name if path.name != "capture" else path.parent.name: Capture.load(path) for path in options.captures
    }
    if options.profile:
        text = "\n".join(line for capture in captures.values() for line in profile(capture)) + "\n"
    else:
        runs: dict[str, dict[str, list[dict]]] = {name: {way: [] for way in ways()} for name in captures}
        for repeat in range(options.repeats + 1):
            for name, capture in captures.items():
                for way, config in ways().items():
                    told = measure(options.output, capture, way, config, repeat)
                    runs[name][way] += [told] if repeat else []
        machines = {run["machine"] for by_way in runs.values() for way in by_way.values() for run in way}
        text = "\n".join([*table(runs), "", f"Warm runs on: {'; '.join(sorted(machines))}."]) + "\n"
    with storage.replacing_file(options.output / ("profile.md" if options.profile else "speed.md")) as building:
        building.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
