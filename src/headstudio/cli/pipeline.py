"""The whole way from a video to an avatar with its numbers, composed of the rooms' own doors."""

import shutil
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from headstudio.capture.config import IngestConfig
from headstudio.cli.console import Display
from headstudio.cli.ledger import Ledger
from headstudio.cli.scanning import ScanRecipe, in_the_lens_of, person_of, scan_capture, scanned_clip
from headstudio.cli.sources import chosen_device, digest, load_source, load_subject, many_hands, track_folder
from headstudio.tracking.config import TrackingConfig

if TYPE_CHECKING:
    from headstudio.evaluation.evaluate import EvaluationConfig
    from headstudio.records.evaluation import Evaluation
    from headstudio.records.motion import Motion
    from headstudio.training.contract import AvatarModel, Source
    from headstudio.training.train import Recipe
    from headstudio.training.trainer import TrainerConfig


@dataclass(frozen=True)
class Plan:
    """What to make of which video."""

    video: Path
    folder: Path
    recipe: "Recipe"
    trainer: "TrainerConfig"
    ingest: IngestConfig = field(default_factory=IngestConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    clip_a: Path | None = None
    """A clip of the still head from all round, or the scan of one."""
    scanning: ScanRecipe = field(default_factory=ScanRecipe)


class Pipeline:
    """The stages of a plan; each is kept where nothing it was made from has changed."""

    def __init__(self, plan: Plan, display: Display, ledger: Ledger | None = None) -> None:
        self.plan, self.display = plan, display
        self.ledger = ledger or Ledger(plan.folder, display)
        self.capture, self.avatar = plan.folder / "capture", plan.folder / "avatar"
        self.scans = plan.clip_a is not None and not (plan.clip_a / "scan.json").is_file()
        """Whether clip A is still to be scanned."""
        self.person = plan.folder / "scan" if self.scans else plan.clip_a
        """The scan, whether or not it is made yet; None for a person of one clip."""
        self.evaluation: Evaluation | None = None
        """With its example pictures, when this run has made it."""

    def run(self) -> None:
        """All stages."""
        self.scan()
        self.ingest()
        self.track()
        self.annotate()
        self.train()
        self.evaluate()
        self.reenact()
        self.export()
        self.report()

    def scan(self) -> None:
        """Clip A becomes a person: cameras, mesh, registered head, static texture."""
        plan, clip, folder = self.plan, self.plan.clip_a, self.person
        if not self.scans or clip is None or folder is None:
            return

        def work() -> None:
            capture = scanned_clip(clip, plan.folder / "scan-capture", self.display)
            scan_capture(capture, plan.scanning, folder, self.display)
            person_of(folder)

        made_from = {"clip": digest(clip), "recipe": asdict(plan.scanning)}
        self.ledger.stage("scan", made_from, (), ("scan",), work)

    def ingest(self) -> None:
        """The video becomes a capture."""
        from headstudio.capture.coverage import Preflight

        plan = self.plan

        def work() -> None:
            from headstudio.capture.ingest import ingest
            from headstudio.report.preflight import write_preflight

            write_preflight(plan.folder / "preflight.html", ingest(plan.video, self.capture, plan.ingest, self.display))

        made_from = {"video": digest(plan.video), "config": asdict(plan.ingest)}
        self.ledger.stage("ingest", made_from, (), ("capture", "preflight.html"), work)
        for finding in Preflight.load(self.capture).findings:
            self.display.say(f"  {finding.message}: {finding.next_step}")

    def track(self) -> None:
        """How the head moved, with an overlay to judge it by."""
        from headstudio.records.track import Track

        def work() -> None:
            from headstudio.records.capture import Capture
            from headstudio.report.track_report import write_track_report
            from headstudio.tracking.overlay import write_overlay
            from headstudio.tracking.tracker import track

            capture, config, known = Capture.load(self.capture), self.plan.tracking, None
            if self.person is not None:
                scan = person_of(self.person)
                known, config = scan.identity, in_the_lens_of(scan, config)
            found = track(capture, many_hands(config, capture.frames), self.display, known)
            found.save(track_folder(self.capture))
            overlay = self.plan.folder / "track.mp4"
            write_overlay(capture, found, overlay)
            write_track_report(self.plan.folder / "track.html", capture, found, overlay=overlay)

        # The number of processes does not change the result.
        made_from: dict[str, object] = {"config": asdict(replace(self.plan.tracking, processes=None))}
        after = ("ingest", "scan") if self.scans else ("ingest",)
        if self.person is not None and not self.scans:
            made_from |= {"scan": digest(self.person)}
        self.ledger.stage("track", made_from, after, ("capture/track", "track.mp4", "track.html"), work)
        quality = Track.load(track_folder(self.capture)).quality
        for sentence in () if quality is None else quality.sentences:
            self.display.say(f"  {sentence}")

    def annotate(self) -> None:
        """Labels, for methods that make use of them."""
        if not self.labelled:
            return

        def work() -> None:
            from headstudio.capture.annotating import annotate
            from headstudio.cli.annotate import head_labels
            from headstudio.records.capture import Annotation, Capture

            annotate(Capture.load(self.capture), Annotation.PARSING, head_labels(self.capture), self.display)

        self.ledger.stage("annotate", {}, ("track",), ("capture/parsing",), work)

    @property
    def labelled(self) -> bool:
        """Whether the method makes use of a label for every pixel."""
        from headstudio.records.capture import Annotation
        from headstudio.training import registry

        method = registry.find(self.plan.recipe.kind, self.plan.recipe.name)
        return Annotation.PARSING in method.needs | method.uses

    def train(self) -> None:
        """The avatar; a training that was stopped goes on."""
        from headstudio.report.training_report import write_training_report
        from headstudio.training import journal
        from headstudio.training.config import to_plain
        from headstudio.training.train import create, train, training_folder

        plan = self.plan
        made_from = {
            "method": plan.recipe.name,
            "config": to_plain(create(plan.recipe)[1]),
            "trainer": to_plain(plan.trainer),
        }

        def work() -> None:
            sources = {"target": (load_source(self.capture, scan_path=self.person),)}
            record = train(plan.recipe, sources, self.avatar, plan.trainer, display=self.display)
            write_training_report(plan.folder / "training.html", record, training_folder(self.avatar) / journal.NAME)

        def forget() -> None:
            shutil.rmtree(training_folder(self.avatar), ignore_errors=True)

        after = ("track", "annotate") if self.labelled else ("track",)
        self.ledger.stage("train", made_from, after, ("avatar", "training.html"), work, forget)

    def evaluate(self) -> None:
        """Numbers on the held-out frames."""

        def work() -> None:
            from headstudio.evaluation.evaluate import EvaluationConfig

            avatar, method, _ = load_subject(self.avatar)
            avatar.to(chosen_device(self.plan.trainer.device))
            self.evaluation = score(
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
            from headstudio.cli.reenactment import write_reenactment

            source, device = load_source(self.capture), self.plan.trainer.device
            write_reenactment(self.avatar, source, self.plan.folder, device, self.display)

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

            export_avatar(avatar, "glb", self.plan.folder / "avatar.glb", load_source(self.capture).motion)

        self.ledger.stage("export", {}, ("train",), ("avatar.glb",), work)

    def report(self) -> None:
        """Everything in one file."""

        def work() -> None:
            from headstudio.records.avatar import Avatar
            from headstudio.records.evaluation import Evaluation
            from headstudio.records.scan import Scan
            from headstudio.report.evaluation_report import evaluation_sections
            from headstudio.report.preflight import preflight_sections
            from headstudio.report.scan_report import scan_sections
            from headstudio.report.summary import StageRecord, write_summary
            from headstudio.report.track_report import track_sections
            from headstudio.report.training_report import training_sections
            from headstudio.training import journal
            from headstudio.training.train import training_folder

            source, timings = load_source(self.capture), self.ledger.timings()
            scores = self.evaluation or Evaluation.load(self.plan.folder / "evaluation" / "evaluation.json")
            stages = [
                StageRecord(name, timings[name], tuple(paths), name in self.ledger.kept)
                for name, paths in self.ledger.products().items()
            ]
            scanned = {} if self.person is None else {"Scan": scan_sections(Scan.load(self.person))}
            parts = {
                **scanned,
                "Capture": preflight_sections(source.capture),
                "Track": track_sections(source.capture, source.track, overlay=self.plan.folder / "track.mp4"),
                "Training": training_sections(Avatar.load(self.avatar), training_folder(self.avatar) / journal.NAME),
                "Evaluation": evaluation_sections(scores),
            }
            write_summary(self.plan.folder / "report.html", self.plan.video.name, stages, parts)

        after = [name for name in self.ledger.entries if name != "report"]
        self.ledger.stage("report", {}, after, ("report.html",), work)


def score(
    avatar: "AvatarModel",
    name: str,
    source: "Source",
    folder: Path,
    config: "EvaluationConfig",
    display: Display,
    motion: "Motion | None" = None,
) -> "Evaluation":
    """Evaluate an avatar and write numbers, tables and report into a folder."""
    from headstudio import storage
    from headstudio.evaluation.evaluate import evaluate
    from headstudio.evaluation.tables import markdown
    from headstudio.report.evaluation_report import write_evaluation_report

    signal = "tracked" if motion is None else "predicted"
    found = evaluate(avatar, source, config, name=name, motion=motion, signal=signal, progress=display)
    with storage.replacing_folder(folder) as building:
        found.save(building / "evaluation.json")
        (building / "evaluation.md").write_text(markdown(found), encoding="utf-8")
        write_evaluation_report(building / "report.html", found)
    return found
