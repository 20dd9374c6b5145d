"""Run avatars without PyTorch: their graph in ONNX Runtime beside PyTorch eager, and in a browser.

    python benchmarks/onnx_speed.py AVATAR [AVATAR ...] --repeats 60 --page --output out/onnx

Any method that has a runtime. The ways take turns frame by frame, so that what else the machine does falls on all of
them; the first rounds warm up. `onnx.md` has medians, 95th percentiles and ratios of medians: ratios travel, times
belong to the machine that it names; processor time is that of the measuring process, which a busy machine disturbs
less. Peak memory is that of a fresh process that loads the avatar or the ONNX file and runs the graph. `--page` (an
avatar with a surface, Chromium and playwright) times the exported page: its network beside the others, and frames a
second. Linux.
"""

import argparse
import contextlib
import json
import re
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

SCHEMA, VERSION = "headstudio.benchmark.onnx", 1
PAPER_MB = 2.0
"""Size of the dynamic texture network (Wang et al., section 4)."""
_WARM = 5
_EAGER, _ONNX, _BROWSER = "graph, PyTorch eager", "graph, ONNX Runtime", "graph, ONNX Runtime in Chromium"
_EAGER_FRAME, _ONNX_FRAME = "whole frame, PyTorch eager", "whole frame, ONNX Runtime"
_OPSET = 17
_PLAYED_MS = 8000


def measured(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Everything about one avatar."""
    import torch

    from headstudio.geometry.camera import Camera
    from headstudio.records.avatar import Avatar
    from headstudio.records.channels import Scene, View
    from headstudio.training.avatars import load_avatar

    torch.set_num_threads(options.threads)
    avatar, record = load_avatar(folder).eval(), Avatar.load(folder)
    if record.at_rest is None:
        raise SystemExit(f"{folder} does not know its person at rest: train it again")
    motion = performance(avatar, record, options.repeats + _WARM)
    camera = Camera(record.at_rest.K_px[None], record.at_rest.size_px, record.at_rest.size_px)
    view = View(camera.resized(options.size_px, options.size_px), torch.eye(4)[None])
    runtime, scene = avatar.runtime(), Scene()
    graph, names = runtime.graph().eval(), [spec.name for spec in runtime.outputs]
    prepared = [runtime.prepare(motion.at([frame]), view) for frame in range(len(motion))]
    with tempfile.TemporaryDirectory() as work, torch.no_grad(), contextlib.ExitStack() as open_things:
        file = Path(work) / "graph.onnx"
        write_graph(graph, prepared[0], names, file)
        run = session(file, options.threads).run

        def eager(frame: int) -> dict[str, Any]:
            made = graph(*prepared[frame].values())
            return dict(zip(names, made if isinstance(made, tuple) else (made,), strict=True))

        def onnx(frame: int) -> dict[str, Any]:
            made = run(names, {name: value.numpy() for name, value in prepared[frame].items()})
            return dict(zip(names, map(torch.from_numpy, made), strict=True))

        def whole(paint: Callable[[int], dict[str, Any]]) -> Callable[[int], Any]:
            def draw(frame: int) -> Any:
                channels = motion.at([frame])
                prepared[frame] = runtime.prepare(channels, view)
                return runtime.composite(paint(frame), channels, view, scene)

            return draw

        difference = max(
            float((ours - onnx(frame)[name]).abs().max()) for frame in range(3) for name, ours in eager(frame).items()
        )
        ways: dict[str, Callable[[int], Any]] = {
            _EAGER: eager, _ONNX: onnx, _EAGER_FRAME: whole(eager), _ONNX_FRAME: whole(onnx),
        }  # fmt: skip
        page = open_things.enter_context(opened_page(avatar, Path(work))) if options.page else None
        if page is not None:
            ways[_BROWSER] = page.network
        wall, own = timed(ways, len(motion))
        memory = {way: peak_mb(way, folder, file, options.threads) for way in (_EAGER, _ONNX)}
        frames_a_second = None if page is None else page.rate()
        megabytes = file.stat().st_size / 1e6
    return {
        "name": record.name, "preset": record.preset, "outputs": [list(spec.shape) for spec in runtime.outputs],
        "size_px": options.size_px, "threads": options.threads, "wall_ms": wall, "own_ms": own,
        "difference": difference, "peak_mb": memory, "file_mb": megabytes, "frames_a_second": frames_a_second,
    }  # fmt: skip


def performance(avatar: Any, record: Any, frames: int) -> Any:
    """Another expression in every frame, in the channels that the avatar accepts."""
    import torch

    from headstudio.drivers.drive import Performance, carried_over
    from headstudio.records.channels import ARKIT
    from headstudio.records.motion import Motion

    make = torch.Generator().manual_seed(0)
    times_s = torch.arange(frames, dtype=torch.float64) / 30
    motion = Motion(times_s, {ARKIT: 0.4 * torch.rand(frames, 52, generator=make)})
    return carried_over(Performance(motion), avatar, record.at_rest)[0]


def write_graph(graph: Any, inputs: dict[str, Any], names: list[str], file: Path) -> None:
    """The graph as an ONNX file."""
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracer speaks of branches on shapes, which are fixed here
        torch.onnx.export(
            graph, tuple(inputs.values()), file, input_names=list(inputs), output_names=names,
            opset_version=_OPSET, dynamo=False,
        )  # fmt: skip


def session(file: Path, threads: int) -> Any:
    """The graph in ONNX Runtime on the CPU."""
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads, settings.inter_op_num_threads = threads, 1
    return onnxruntime.InferenceSession(file, settings, providers=["CPUExecutionProvider"])


def timed(ways: dict[str, Callable[[int], Any]], frames: int) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Milliseconds of every warm frame by the wall clock and of this process, the ways taking turns."""
    wall: dict[str, list[float]] = {way: [] for way in ways}
    own: dict[str, list[float]] = {way: [] for way in ways if way != _BROWSER}
    for frame in range(frames):
        for way, run in ways.items():
            begun, begun_own = time.perf_counter(), time.process_time()
            made = run(frame)
            took, took_own = time.perf_counter() - begun, time.process_time() - begun_own
            if frame < _WARM:
                continue
            wall[way].append(made if way == _BROWSER else 1000 * took)
            if way in own:
                own[way].append(1000 * took_own)
    return wall, own


class Page:
    """The exported page in Chromium."""

    def __init__(self, tab: Any) -> None:
        self._tab = tab
        tab.still()

    def network(self, frame: int) -> float:
        """Milliseconds of one run of the network, by the browser's own clock."""
        weights = np.random.default_rng(frame).random(52) * 0.4
        return self._tab.run(
            """async weights => {
                const { network } = headstudio, before = performance.now();
                await network.run(weights, network.pose);
                return performance.now() - before;
            }""",
            weights.tolist(),
        )

    def rate(self) -> float:
        """Frames a second while the page plays a performance by itself: network, mesh and drawing."""
        self._tab.tab.reload()
        self._tab.tab.wait_for_selector("body[data-state=ready]", state="attached")
        self._tab.tab.get_by_role("button", name="Play").click()
        self._tab.tab.wait_for_timeout(_PLAYED_MS)
        return self._tab.run("() => headstudio.rate")


@contextlib.contextmanager
def opened_page(avatar: Any, work: Path) -> Iterator[Page]:
    """The avatar's page with a performance of ten seconds."""
    import torch

    from headstudio.export.targets import export_avatar
    from headstudio.records.channels import ARKIT
    from headstudio.records.motion import Motion

    sys.path.append(str(Path(__file__).parents[1] / "tests"))
    from support import browser  # pyright: ignore[reportMissingImports]  # the browser that the tests look at the page with

    make = torch.Generator().manual_seed(0)
    motion = Motion(torch.arange(300, dtype=torch.float64) / 30, {ARKIT: 0.4 * torch.rand(300, 52, generator=make)})
    folder = export_avatar(avatar, "web", work / "page", motion)
    with browser.chromium() as running, browser.served(folder) as address:
        yield Page(browser.Page(running, address))


def peak_mb(way: str, folder: Path, file: Path, threads: int) -> float:
    """Largest resident memory of a fresh process that loads the graph and runs it."""
    command = [sys.executable, __file__, str(folder), "--child", way, "--graph", str(file), "--threads", str(threads)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])


def child(options: argparse.Namespace) -> None:
    """The fresh process."""
    if options.child == _ONNX:
        loaded = session(options.graph, options.threads)
        inputs = {spec.name: np.zeros([1, *spec.shape[1:]], np.float32) for spec in loaded.get_inputs()}
        for _ in range(_WARM):
            loaded.run([], inputs)
    else:
        import torch

        from headstudio.training.avatars import load_avatar

        torch.set_num_threads(options.threads)
        runtime = load_avatar(options.avatars[0]).eval().runtime()
        graph = runtime.graph().eval()
        with torch.no_grad():
            for _ in range(_WARM):
                graph(*(torch.zeros(1, *spec.shape) for spec in runtime.inputs))
    # The kernel's high-water mark of this program alone; what getrusage tells may be the parent's.
    (kilobytes,) = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
    print(int(kilobytes) * 1024 / 1e6)


def tables(rows: list[dict[str, Any]]) -> list[str]:
    """What was measured, for people."""
    from tracking_tables import markdown

    times, others = [], []
    for row in rows:
        outputs = ", ".join("x".join(map(str, shape)) for shape in row["outputs"])
        name = f"{row['name']}, graph gives {outputs}"
        for way in row["wall_ms"]:
            first = _EAGER_FRAME if way in (_EAGER_FRAME, _ONNX_FRAME) else _EAGER
            times.append([name, way, *compared(row["wall_ms"], way, first), *compared(row["own_ms"], way, first)])
        memory = [f"{row['peak_mb'][way]:.0f}" for way in (_EAGER, _ONNX)]
        rate = "-" if row["frames_a_second"] is None else f"{row['frames_a_second']:.1f}"
        size = f"{row['file_mb']:.2f} ({row['file_mb'] / PAPER_MB:.2f})"
        others.append([name, size, *memory, f"{row['difference']:.1e}", rate])
    head = [
        "avatar", "way", "wall clock, ms: median (95th percentile)", "against PyTorch eager",
        "processor time, ms: median (95th percentile)", "against PyTorch eager",
    ]  # fmt: skip
    about = [
        "avatar", "ONNX file in MB (of the paper's 2 MB)", "peak memory in MB: PyTorch", "ONNX Runtime",
        "largest difference of their outputs", "page in Chromium, frames a second",
    ]  # fmt: skip
    return [*markdown(head, times), "", *markdown(about, others)]


def compared(times_ms: dict[str, list[float]], way: str, first: str) -> tuple[str, str]:
    """Median with 95th percentile, and the ratio of medians."""
    if way not in times_ms:
        return "-", "-"
    middle = float(np.median(times_ms[way]))
    ratio = middle / float(np.median(times_ms[first]))
    return f"{middle:.1f} ({np.quantile(times_ms[way], 0.95):.1f})", f"{ratio:.2f}"


def main() -> None:
    """Measure, then write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("avatars", nargs="+", type=Path)
    parser.add_argument("--output", type=Path, default=Path("out/onnx"))
    parser.add_argument("--repeats", type=int, default=60, help="frames that count, of every way")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--size-px", type=int, default=512, help="of the whole frame's picture")
    parser.add_argument("--page", action="store_true", help="time the exported page as well")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--graph", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options)
        return
    from headstudio import storage
    from tracking_speed import machine

    rows = [measured(folder, options) for folder in options.avatars]
    told = {"machine": machine(), "rows": rows}
    text = "\n".join([*tables(rows), "", f"On: {told['machine']}; pictures of {options.size_px} px."]) + "\n"
    storage.write_json(options.output / "onnx.json", SCHEMA, VERSION, json.loads(json.dumps(told)))
    with storage.replacing_file(options.output / "onnx.md") as building:
        building.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
