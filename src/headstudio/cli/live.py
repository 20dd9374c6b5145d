"""`headstudio live`: an avatar is driven in real time."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import Positional, UseAppendAction, arg

from headstudio.cli.console import Display
from headstudio.cli.options import Common, Result
from headstudio.live.config import LiveConfig

if TYPE_CHECKING:
    from headstudio.live.personal import Personal
    from headstudio.live.session import Session


@dataclass(frozen=True, kw_only=True)
class Options(Common):
    """Drive an avatar in real time, from a camera, a phone, a stream or a file. Ctrl-C ends it."""

    avatar: Annotated[Positional[Path], arg(metavar="AVATAR")]
    """The avatar folder."""
    source: str = "0"
    """A camera's number, a video or a motion played at its own rate, an address (rtsp://... and what else FFmpeg
    reads), livelink, ifacialmocap or vmc for a phone, or still for sliders alone."""
    driver: Annotated[Path | None, arg(metavar="DRIVER")] = None
    """A trained driver that turns the signals into the avatar's channels."""
    profile: Annotated[Path | None, arg(metavar="FOLDER")] = None
    """Where the driver's calibration is kept; read if it is there, written when it was made."""
    recalibrate: bool = False
    """Make the calibration anew."""
    repeat: bool = False
    """Play a file again and again."""
    listen: str = "127.0.0.1"
    """Address of this machine at which a phone is listened to; the default hears this machine alone."""
    port: int | None = None
    """Port at which a phone is listened to; the protocol's own when not given."""
    phone: str | None = None
    """Address of the phone: nobody else is listened to, and iFacialMocap is asked to send."""
    page: bool = False
    """Show a page in the browser; also what happens when no other output is named."""
    page_port: int = 0
    """Port of the page; any free one when 0."""
    window: bool = False
    """Show a window."""
    output: Annotated[Path | None, arg(aliases=["-o"], metavar="VIDEO")] = None
    """Write an MP4 or MKV."""
    virtual_camera: bool = False
    """Be a camera to other programs; needs pyvirtualcam."""
    send: Annotated[UseAppendAction[tuple[str, ...]], arg(metavar="PROTOCOL[:HOST][:PORT]")] = ()
    """Tell what drives the avatar over the network, in livelink, ifacialmocap or vmc; may be given again."""
    seconds: Annotated[float | None, arg(name="for", metavar="SECONDS")] = None
    """End by itself."""
    background: str = "#000000"
    """A colour (#rrggbb) or a picture."""
    config: Annotated[LiveConfig, arg(name="")] = field(default_factory=LiveConfig)
    """How."""


def run(options: Options, display: Display) -> Result:
    """Run until somebody or something ends it."""
    from headstudio.cli.drive import read_background
    from headstudio.cli.sources import load_subject
    from headstudio.errors import HeadstudioError
    from headstudio.live.opening import source_of
    from headstudio.live.session import Session
    from headstudio.training.avatars import load_driver

    if options.seconds is not None and not options.seconds > 0:
        raise HeadstudioError("--for must be positive", next_step="give seconds")
    source = source_of(options.source, options.repeat, options.listen, options.port, options.phone)
    _refuse_to_overwrite(options.profile)
    personal = _known(options)
    avatar, _, at_rest = load_subject(options.avatar)
    driver = None if options.driver is None else load_driver(options.driver, avatar)
    background = read_background(options.background, min(max(options.config.size_px, 1), 4096))
    display.say(f"{options.avatar.name}: getting ready")
    with Session(
        avatar, at_rest, source, options.config, personal=personal, driver=driver, background=background,
        met=lambda found: _keep(found, options, display), tell=display.say,
    ) as session:  # fmt: skip
        look = _outputs(session, options, display)
        try:
            session.run(options.seconds, look, lambda: display.say(_line(session)))
        except KeyboardInterrupt:
            display.say("ending")
    return _summary(session, options)


def _known(options: Options) -> "Personal | None":
    from headstudio.live.personal import Personal

    if options.profile is None or options.recalibrate or not (options.profile / "driver.json").is_file():
        return None
    return Personal.load(options.profile)


def _refuse_to_overwrite(profile: Path | None) -> None:
    from headstudio.errors import HeadstudioError

    if profile is None or not profile.exists() or (profile / "driver.json").is_file():
        return
    if not (profile.is_dir() and not any(profile.iterdir())):
        raise HeadstudioError(
            "there is something else here", where=profile, next_step="name a new folder for --profile"
        )


def _keep(personal: "Personal", options: Options, display: Display) -> None:
    if options.profile is None:
        display.say("The driver is known now; --profile would keep it.")
        return
    personal.save(options.profile)
    display.say(f"The driver is known now, and kept in {options.profile}.")


def _outputs(session: "Session", options: Options, display: Display) -> Any:
    """Add what was asked for; what the main thread has to do meanwhile."""
    from headstudio.live.outputs import film, others
    from headstudio.live.outputs.page import Page

    size_px = options.config.size_px
    if options.output is not None:
        session.add(film.Film(options.output), film.QUEUE)
    for address in options.send:
        session.add(others.Telling(address))
    if options.virtual_camera:
        session.add(others.VirtualCamera(size_px))
    window = None
    if options.window:
        window = others.Window()
        session.add(window)
    if options.page or not (options.output or options.send or options.virtual_camera or options.window):
        page = Page(session.controls, session.state, options.page_port)
        session.add(page)
        display.say(f"Open {page.address}")
    return None if window is None else window.show


def _line(session: "Session") -> str:
    """How it goes, in one line."""
    readings = session.readings()
    first, last = readings[0], readings[-1]
    dropped = sum(reading.dropped for reading in readings)
    works = ", ".join(f"{r.stage} {r.work_p50_ms:.0f}/{r.work_p95_ms:.0f}" for r in readings[1:])
    rates = f"in {first.rate_hz:.1f}/s, out {last.rate_hz:.1f}/s, dropped {dropped}"
    ages = f"behind {last.age_p50_ms:.0f}/{last.age_p95_ms:.0f} ms (half/95 % of the frames)"
    return " | ".join(filter(None, [session.message, rates, ages, works]))


def _summary(session: "Session", options: Options) -> Result:
    from headstudio.live.meters import table

    readings = session.readings()
    content = {
        "source": session.source.name,
        "stages": [vars(reading) for reading in readings],
        "reconnected": session.reconnected,
        "video": options.output if options.output is not None and options.output.is_file() else None,
    }
    return Result(table(readings), content)
