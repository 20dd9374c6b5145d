"""The whole way from a video to an avatar with its numbers, composed of the rooms' own doors."""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstudio.capture.config import IngestConfig
from headstudio.cli.console import Display
from headstudio.cli.ledger import Ledger
from headstudio.cli.sources import chosen_device, digest, load_source, load_subject, track_folder
from headstudio.tracking.config import TrackingConfig

if TYPE_CHECKING:
    from headstudio.evaluation.evaluate import EvaluationConfig
    from headstudio.records.evaluation import Evaluation
    from headstudio.records.motion import Motion
    from headstudio.training.contract import AvatarModel, Source
    from headstudio.training.train import Recipe
    from headstudio.training.trainer import TrainerConfig

NOVEL_YAW_DEG = 25.0
"""How far aside the re-enactment's second view stands."""
BACKGROUND = 0.25
"""The grey behind re-enactments, sRGB."""
STRIP_FRAMES = 6
"""Columns of the picture strip."""


@dataclass(frozen=True)
class Plan:
    """What to make of which video."""

    video: Path
    folder: Path
    recipe: "Recipe"
    trainer: "TrainerConfig"
    ingest: IngestConfig = field(default_factory=IngestConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)


class Pipeline:
    """The stages of a plan; each is kept where nothing it was made from has changed."""

    def __init__(self, plan: Plan, display: Display, ledger: Ledger | None = None) -> None:
        self.plan, self.display = plan, display
        self.ledger = ledger or Ledger(plan.folder, display)
        self.capture, self.avatar = plan.folder / "capture", plan.folder / "avatar"

    def run(self) -> None:
        """All stages."""
        self.ingest()
        self.track()
        self.train()
        self.evaluate()
        self.reenact()
        self.export()

    def ingest(self) -> None:
        """The video becomes a capture."""
        from headstudio.capture.coverage import Preflight
        from headstudio.capture.ingest import ingest

        plan = self.plan
        made_from = {"video": digest(plan.video), "config": asdict(plan.ingest)}
        self.ledger.stage(
            "ingest",
            made_from,
            (),
            ("capture",),
            lambda: ingest(plan.video, self.capture, plan.ingest, self.display),
        )
        for finding in Preflight.load(self.capture).findings:
            self.display.say(f"  {finding.message}: {finding.next_step}")

    def track(self) -> None:
        """How the head moved, with an overlay to judge it by."""

        def work() -> None:
            from headstudio.records.capture import Capture
            from headstudio.tracking.overlay import write_overlay
            from headstudio.tracking.tracker import track

            capture = Capture.load(self.capture)
            found = track(capture, self.plan.tracking, self.display)
            found.save(track_folder(self.capture))
            write_overlay(capture, found, self.plan.folder / "track.mp4")

        made_from = {"config": asdict(self.plan.tracking)}
        self.ledger.stage("track", made_from, ("ingest",), ("capture/track", "track.mp4"), work)

    def train(self) -> None:
        """The avatar; a training that was stopped goes on."""
        from headstudio.training.config import to_plain
        from headstudio.training.train import create, train, training_folder

        plan = self.plan
        made_from = {
            "method": plan.recipe.name,
            "config": to_plain(create(plan.recipe)[1]),
            "trainer": to_plain(plan.trainer),
        }

        def work() -> None:
            sources = {"target": (load_source(self.capture),)}
            train(plan.recipe, sources, self.avatar, plan.trainer, display=self.display)

        def forget() -> None:
            shutil.rmtree(training_folder(self.avatar), ignore_errors=True)

        self.ledger.stage("train", made_from, ("track",), ("avatar",), work, forget)

    def evaluate(self) -> None:
        """Numbers on the held-out frames."""

        def work() -> None:
            from headstudio.evaluation.evaluate import EvaluationConfig

            avatar, method, _ = load_subject(self.avatar)
            avatar.to(chosen_device(self.plan.trainer.device))
            score(
                avatar,
                method,
                load_source(self.capture),
                self.plan.folder / "evaluation",
                EvaluationConfig(),
                self.display,
            )

        self.ledger.stage("evaluate", {}, ("train",), ("evaluation",), work)

    def reenact(self) -> None:
        """The held-out frames again, from the front and from aside."""

        def work() -> None:
            reenact(self.avatar, load_source(self.capture), self.plan.folder, self.plan.trainer.device, self.display)

        self.ledger.stage("re-enact", {}, ("train",), ("reenactment.mp4", "strip.png"), work)

    def export(self) -> None:
        """The avatar for 3D engines, with the performance it was made from."""
        from headstudio.training.contract import Capability

        avatar = load_subject(self.avatar).avatar
        if Capability.SURFACE not in avatar.capabilities:
            self.display.say(f"export: {self.plan.recipe.name} has no surface to export")
            return

        def work() -> None:
            from headstudio.export.targets import export_avatar
            from headstudio.heads import load_head
            from headstudio.motion.retarget import adapt

            motion = load_source(self.capture).motion
            adapted = adapt(motion, avatar.driven_by, load_head(avatar.identity.head))
            export_avatar(avatar, "glb", self.plan.folder / "avatar.glb", adapted)

        self.ledger.stage("export", {}, ("train",), ("avatar.glb",), work)


def score(
    avatar: "AvatarModel",
    name: str,
    source: "Source",
    folder: Path,
    config: "EvaluationConfig",
    display: Display,
    motion: "Motion | None" = None,
) -> "Evaluation":
    """Evaluate an avatar and write numbers and tables."""
    from headstudio.evaluation.evaluate import evaluate
    from headstudio.evaluation.tables import markdown
    from headstudio.records import storage

    signal = "tracked" if motion is None else "predicted"
    found = evaluate(avatar, source, config, name=name, motion=motion, signal=signal, progress=display)
    with storage.replacing_folder(folder) as building:
        found.save(building / "evaluation.json")
        (building / "evaluation.md").write_text(markdown(found), encoding="utf-8")
    return found


def reenact(avatar_path: Path, source: "Source", folder: Path, device: str, display: Display) -> None:
    """Write reenactment.mp4 (truth | ours | ours from aside, held-out frames) and strip.png with some of its frames."""
    import torch

    from headstudio.drivers.drive import DriveConfig, Performance, carried_over, orbit_view, render_frames
    from headstudio.export.video import write_video

    avatar, _, at_rest = load_subject(avatar_path)
    avatar.to(chosen_device(device))
    frames = [frame for frame in source.capture.held_out_frames if bool(source.track.usable[frame])]
    performance = Performance(source.motion.select(frames))
    motion, _ = carried_over(performance, avatar, at_rest, DriveConfig(own=True))
    size_px = at_rest.size_px
    grey = torch.full((3, size_px, size_px), BACKGROUND)
    views = [orbit_view(at_rest, size_px, yaw) for yaw in (0.0, NOVEL_YAW_DEG)]
    rendered = zip(*(render_frames(avatar, motion, view, grey) for view in views), strict=True)
    strip = _Strip(len(frames))
    with display.stage("re-enact", len(frames)) as advance:
        pictures = _triples(source, frames, rendered, size_px, advance)
        write_video(folder / "reenactment.mp4", strip.watch(pictures), motion.times_s.tolist())
    strip.save(folder / "strip.png")


def _triples(source: "Source", frames: Sequence[int], rendered: Any, size_px: int, advance: Any) -> Iterator[Any]:
    import numpy as np

    from headstudio.cli.drive import driving_picture
    from headstudio.export.video import to_picture

    for frame, renderings in zip(frames, rendered, strict=True):
        truth = driving_picture(source.capture, frame, size_px)
        yield np.concatenate([truth, *(to_picture(r.rgb[0]) for r in renderings)], axis=1)
        advance(1)


class _Strip:
    """Some frames of a video as one picture: a column a frame, a row a panel."""

    def __init__(self, frames: int) -> None:
        columns = min(STRIP_FRAMES, frames)
        self._wanted = {round((column + 0.5) * frames / columns - 0.5) for column in range(columns)}
        self._columns: list[Any] = []

    def watch(self, pictures: Iterator[Any]) -> Iterator[Any]:
        """Pass pictures on and remember some."""
        import numpy as np

        for index, picture in enumerate(pictures):
            if index in self._wanted:
                panels = picture.shape[1] // picture.shape[0]
                self._columns.append(np.concatenate(np.split(picture, panels, axis=1), axis=0))
            yield picture

    def save(self, path: Path) -> None:
        """Write the picture."""
        import numpy as np
        from PIL import Image

        from headstudio.records import storage

        with storage.replacing_file(path) as building:
            Image.fromarray(np.concatenate(self._columns, axis=1)).save(building)
