"""The door: finds the verb, loads that verb alone, and turns what goes wrong into a sentence and an exit code.

Nothing here may import anything heavy: `headstudio --help` answers at once.
"""

import importlib
import sys
from collections.abc import Mapping, Sequence

import headstudio
from headstudio.cli.failures import USAGE, guarded

VERBS = {
    "make": "a video becomes an avatar, the whole way; goes on where it stopped",
    "demo": "the whole way with a synthetic actor, whose truth is known",
    "ingest": "a video becomes a capture: frames, landmarks, mattes, quality, split",
    "import": "a tracked dataset in the layout of INSTA or GaussianAvatars becomes a capture",
    "scan": "who a person is: clip A, filmed round a still head, becomes cameras in metres and a mesh",
    "track": "how the head moved in a capture",
    "annotate": "labels (skin, hair, ears ...) and normals for every pixel of a tracked capture",
    "train": "a tracked capture becomes an avatar, by a method of your choice",
    "train-driver": "learn to drive an avatar from a source that does not fit it directly",
    "train-encoder": "learn to read expressions off any face, from synthetic people",
    "evaluate": "numbers on the held-out frames",
    "drive": "an avatar re-enacts a video, a capture or an ARKit recording",
    "live": "an avatar is driven in real time, from a camera, a phone, a stream or a file",
    "motion": "performances as files: convert, trim, loop, blend, resample, smooth, retarget",
    "export": "an avatar for other programs, or a tracked capture for the methods of peers",
    "capture-guide": "how to film the two clips, and the script to read",
    "doctor": "what this machine has and lacks",
}
"""Every verb with its line of help; `headstudio.cli.<verb>` holds its `Options` and its `run`."""
_MODULES = {"import": "import_dataset"}
"""Verbs that cannot be names of modules."""
_COMMON = "Every verb has --help, --json (one JSON object on stdout) and --debug (tracebacks)."


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    verb, *rest = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    if verb in ("-h", "--help", "help"):
        print(_help())
        return 0
    if verb == "--version":
        print(f"headstudio {headstudio.__version__}")
        return 0
    if verb not in VERBS:
        print(f"error: no verb is called {verb}: choose one of {', '.join(VERBS)}.", file=sys.stderr)
        return USAGE
    return guarded(lambda: _perform(verb, rest), debug="--debug" in rest, as_json="--json" in rest)


def _perform(verb: str, arguments: list[str]) -> int:
    module = importlib.import_module(f"headstudio.cli.{_MODULES.get(verb, verb.replace('-', '_'))}")
    if not hasattr(module, "Options"):
        return _perform_part(verb, module.VERBS, arguments)
    from headstudio.cli.options import parse, perform

    return perform(module.run, parse(module.Options, f"headstudio {verb}", arguments, getattr(module, "explain", None)))


def _perform_part(verb: str, parts: Mapping[str, str], arguments: list[str]) -> int:
    """A verb that has verbs of its own."""
    part, *rest = arguments or ["--help"]
    if part in ("-h", "--help", "help"):
        print(f"usage: headstudio {verb} VERB ...\n\n{_listed(parts)}\n\n{_COMMON}")
        return 0
    if part not in parts:
        print(f"error: {verb} has no verb {part}: choose one of {', '.join(parts)}.", file=sys.stderr)
        return USAGE
    module = importlib.import_module(f"headstudio.cli.{verb}.{part}")
    from headstudio.cli.options import parse, perform

    return perform(module.run, parse(module.Options, f"headstudio {verb} {part}", rest))


def _listed(verbs: Mapping[str, str]) -> str:
    width = max(map(len, verbs))
    return "\n".join(f"  {verb:<{width}}  {summary}" for verb, summary in verbs.items())


def _help() -> str:
    return "\n".join(
        [
            headstudio.__doc__ or "",
            "",
            "usage: headstudio VERB ...",
            "",
            _listed(VERBS),
            "",
            _COMMON,
        ]
    )
