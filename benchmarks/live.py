"""Play a real clip as a camera: how many frames come out, how late, and what stands in the way.

    python benchmarks/live.py rows CLIP AVATAR [AVATAR ...] --sizes 256 512 --repeats 3 --output out/live
    python benchmarks/live.py profile CLIP AVATAR --size-px 256 --output out/live
    python benchmarks/live.py steady CLIP AVATAR --minutes 10 --output out/live

For a quiet machine: a row that was taken while others computed says so in its last column (load before it began). The
driver of the clip is met once and kept, so that the rows show running, not calibration. Every row is kept when it is
done; a table is written of all rows that are there. `profile` adds up processor time a frame, by stage and in all, and
says what it allows on so many cores; `steady` repeats the clip and samples rate and resident memory. Linux.
"""

import argparse
import contextlib
import itertools
import os
import re
import statistics
import time
from pathlib import Path
from typing import Any

import torch

from headstudio import storage
from headstudio.capture.decode import open_video
from headstudio.cli.sources import load_subject
from headstudio.live.cameras import FilmedFile
from headstudio.live.config import LiveConfig
from headstudio.live.meters import Reading
from headstudio.live.personal import Personal
from headstudio.live.session import Session
from headstudio.records.avatar import Avatar
from tracking_speed import machine
from tracking_tables import markdown

SCHEMA, VERSION = "headstudio.benchmark.live", 1
QUIET_LOAD = 0.3
"""Processes that wanted to run in the minute before a row; above, others were at work."""
_SAMPLE_S = 10.0
_WARM_S = 20.0
_PROFILED_S = 65.0
TARGET_FPS = 25.0


class Counter:
    """An output that counts."""

    name = "count"

    def __init__(self) -> None:
        self.frames = 0

    def __call__(self, parcel: Any) -> bool:
        """Take one frame."""
        self.frames += 1
        return True

    def finish(self) -> None:
        """Nothing to give back."""


def known_driver(folder: Path, clip: Path, avatar: Path) -> Personal:
    """Who acts in the clip, met once."""
    place = folder / "drivers" / clip.stem
    if not (place / "driver.json").is_file():
        found: list[Personal] = []
        model, _, at_rest = load_subject(avatar)
        config = LiveConfig(size_px=64, queue=1000)
        with Session(model, at_rest, FilmedFile(clip, repeat=True), config, met=found.append) as session:
            session.add(Counter())
            session.run(300, look=lambda: not found)
        if not found:
            raise SystemExit(f"nobody was met in {clip} within five minutes")
        found[0].save(place)
    return Personal.load(place)


def played(
    clip: Path, avatar: Path, size_px: int, personal: Personal, seconds: float | None = None, sample: Any = None
) -> dict[str, Any]:
    """One run of the clip at its own rate, once through or for so many seconds.

    Args:
        sample: called every ten seconds with the session and the counter.
    """
    load = os.getloadavg()[0]
    model, method, at_rest = load_subject(avatar)
    counter, config = Counter(), LiveConfig(size_px=size_px)
    source = FilmedFile(clip, repeat=seconds is not None)
    with Session(model, at_rest, source, config, personal=personal) as session:
        session.add(counter)
        begun_s = time.perf_counter()
        report = (lambda: sample(session, counter)) if sample else (lambda: None)
        session.run(seconds, report=report, report_every_s=_SAMPLE_S)
        took_s = time.perf_counter() - begun_s
        readings = session.readings()
    return {
        "method": method, "avatar": str(avatar), "clip": clip.name, "size_px": size_px, "seconds": took_s,
        "frames_in": readings[0].frames_out + readings[0].dropped, "frames_out": counter.frames,
        "stages": [vars(reading) for reading in readings],
        "load_before": load, "machine": machine(), "cores": len(os.sched_getaffinity(0)),
    }  # fmt: skip


def rows(options: argparse.Namespace) -> list[str]:
    """Frames in, out and dropped, and the latency of every stage, a row an avatar and size."""
    personal = known_driver(options.output, options.clip, options.avatars[0])
    names = {avatar: _name(avatar) for avatar in options.avatars}
    for repeat in range(options.repeats):
        for avatar in options.avatars:
            for size_px in options.sizes:
                place = options.output / "rows" / f"{names[avatar]}_{size_px}_{repeat}.json"
                if not place.exists():
                    told = played(options.clip, avatar, size_px, personal)
                    storage.write_json(place, SCHEMA, VERSION, told)
                    print(f"{place.stem}: {told['frames_in']} in, {told['frames_out']} out", flush=True)
    found = [storage.read_json(place, SCHEMA, VERSION) for place in sorted((options.output / "rows").glob("*.json"))]
    return [*table(found), "", *stages(found), "", f"On: {'; '.join(sorted({row['machine'] for row in found}))}."]


def table(found: list[dict[str, Any]]) -> list[str]:
    """A line a run."""
    lines = []
    for row in found:
        last = row["stages"][-1]
        age = f"{last['age_p50_ms']:.0f} / {last['age_p95_ms']:.0f}"
        counts = [row["frames_in"], row["frames_out"], row["frames_in"] - row["frames_out"]]
        beside = "no" if row["load_before"] <= QUIET_LOAD else f"yes (load {row['load_before']:.1f})"
        rate = f"{row['frames_out'] / row['seconds']:.1f}"
        lines.append([row["method"], f"{row['size_px']}", row["clip"], *map(str, counts), rate, age, beside])
    head = [
        "avatar", "px", "clip", "frames in", "out", "dropped", "frames a second", "source to output, ms: p50 / p95",
        "beside other work",
    ]  # fmt: skip
    return markdown(head, lines)


def stages(found: list[dict[str, Any]]) -> list[str]:
    """p50 / p95 of every stage's work."""
    names = list(dict.fromkeys(stage["stage"] for row in found for stage in row["stages"][1:-1]))
    lines = []
    for row in found:
        by_name = {stage["stage"]: stage for stage in row["stages"]}
        works = [f"{by_name[n]['work_p50_ms']:.0f} / {by_name[n]['work_p95_ms']:.0f}" for n in names if n in by_name]
        lines.append([row["method"], f"{row['size_px']}", *works])
    return markdown(["avatar", "px", *(f"{name}, ms: p50 / p95" for name in names)], lines)


def profile(options: argparse.Namespace) -> list[str]:
    """What a frame costs, and the rate that this allows."""
    avatar = options.avatars[0]
    personal = known_driver(options.output, options.clip, avatar)
    samples: list[tuple[dict[str, float], list[Reading], int]] = []

    def sample(session: Session, counter: Counter) -> None:
        samples.append((mediapipe_s(), session.readings(), counter.frames))

    told = played(options.clip, avatar, options.size_px, personal, _PROFILED_S, sample)
    costs = {"decoding": decoding_ms(options.clip), **costs_ms(samples)}
    storage.write_json(options.output / "profile.json", SCHEMA, VERSION, {**told, "costs_ms": costs})
    total_ms, cores = sum(costs.values()), told["cores"]
    lines = [[name, f"{ms:.1f}", f"{ms / total_ms:.0%}"] for name, ms in [*costs.items(), ("all", total_ms)]]
    slowest = max(costs, key=lambda name: costs[name])
    return [
        *markdown(["where", "processor time a frame, ms", "share"], lines),
        "",
        f"{cores} cores allow {1000 * cores / total_ms:.1f} frames a second if nobody else wants them; "
        f"'{slowest}', the slowest, allows {1000 / costs[slowest]:.1f}. Wanted: {TARGET_FPS:.0f}.",
        f"Got: {told['frames_out'] / told['seconds']:.1f} (load before: {told['load_before']:.1f}).",
    ]


def costs_ms(samples: list[tuple[dict[str, float], list[Reading], int]]) -> dict[str, float]:
    """Processor time of one frame that goes all the way, by stage and by threads of libraries."""
    (first, began, _), (last, ended, _) = samples[0], samples[-1]
    done = {now.stage: now.frames_in - then.frames_in for now, then in zip(ended, began, strict=True)}
    costs = {reading.stage: reading.processor_p50_ms for reading in ended[1:-1]}
    used_s = sum(seconds - first.get(thread, 0.0) for thread, seconds in last.items())
    costs["MediaPipe's threads"] = 1000 * used_s / max(done["detect"], 1)
    return costs


def mediapipe_s() -> dict[str, float]:
    """Processor time of MediaPipe's threads so far."""
    found = {}
    for thread in Path("/proc/self/task").iterdir():
        with contextlib.suppress(FileNotFoundError):  # it has ended
            name = (thread / "comm").read_text(encoding="ascii")
            fields = (thread / "stat").read_text(encoding="ascii").rpartition(")")[2].split()
            if name.startswith("mediapipe"):
                found[thread.name] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return found


def decoding_ms(clip: Path) -> float:
    """Processor time in which FFmpeg makes one picture of the clip."""
    frames = open_video(clip).frames()
    next(frames)
    begun_s = time.process_time()
    count = sum(1 for _ in frames)
    return 1000 * (time.process_time() - begun_s) / count


def steady(options: argparse.Namespace) -> list[str]:
    """Rate and memory over minutes."""
    avatar = options.avatars[0]
    personal = known_driver(options.output, options.clip, avatar)
    samples: list[tuple[float, int, float]] = []

    def sample(session: Session, counter: Counter) -> None:
        samples.append((time.perf_counter(), counter.frames, resident_mb()))
        print(f"{len(samples) * _SAMPLE_S:.0f} s: {counter.frames} frames, {samples[-1][2]:.1f} MB", flush=True)

    told = played(options.clip, avatar, options.size_px, personal, 60 * options.minutes, sample)
    warm = [s for s in samples if s[0] - samples[0][0] >= _WARM_S] or samples
    rates = [(b[1] - a[1]) / (b[0] - a[0]) for a, b in itertools.pairwise(warm)]
    storage.write_json(options.output / "steady.json", SCHEMA, VERSION, {**told, "samples": samples})
    thirds = [warm[: len(warm) // 3], warm[-(len(warm) // 3) :]]
    memory = [statistics.mean(s[2] for s in third) if third else 0.0 for third in thirds]
    return [
        f"{options.minutes:g} min of {told['method']} at {told['size_px']} px (load before {told['load_before']:.1f}):",
        f"{told['frames_in']} frames in, {told['frames_out']} out; "
        f"rate by {_SAMPLE_S:.0f} s: median {statistics.median(rates or [0.0]):.2f}, "
        f"{min(rates, default=0):.2f} to {max(rates, default=0):.2f} frames a second;",
        f"resident memory: first third {memory[0]:.1f} MB, last third {memory[1]:.1f} MB "
        f"({memory[1] - memory[0]:+.1f} MB, {1e6 * (memory[1] - memory[0]) / max(told['frames_out'], 1):+.0f} bytes "
        "a frame).",
    ]


def resident_mb() -> float:
    """Resident memory of this process."""
    (kilobytes,) = re.findall(r"VmRSS:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
    return int(kilobytes) / 1024


def _name(avatar: Path) -> str:
    record = Avatar.load(avatar)
    return f"{record.name}-{record.identifier[:8]}"


def main() -> None:
    """Measure, then write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("rows", "profile", "steady"))
    parser.add_argument("clip", type=Path)
    parser.add_argument("avatars", nargs="+", type=Path)
    parser.add_argument("--output", type=Path, default=Path("out/live"))
    parser.add_argument("--sizes", nargs="+", type=int, default=[256, 512])
    parser.add_argument("--size-px", type=int, default=256, help="of profile and steady")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=10.0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    lines = {"rows": rows, "profile": profile, "steady": steady}[options.what](options)
    text = "\n".join(lines) + "\n"
    with storage.replacing_file(options.output / f"{options.what}.md") as building:
        building.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
