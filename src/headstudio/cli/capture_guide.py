"""`headstudio capture-guide`: how to film the two clips, and the script to read."""

from dataclasses import asdict, dataclass

from headstudio.capture import guide
from headstudio.cli.console import Display
from headstudio.cli.options import Common, Result


@dataclass(frozen=True, kw_only=True)
class Options(Common):
    """Print how to film clip A (who you are) and clip B (how your face moves), with the script to read."""


def run(options: Options, display: Display) -> Result:
    """Tell the guide."""
    content = {
        "prepare": guide.PREPARE,
        "clip_a": guide.CLIP_A,
        "clip_b": guide.CLIP_B,
        "expressions": [asdict(expression) for expression in guide.EXPRESSIONS],
        "sentences": [asdict(sentence) for sentence in guide.SENTENCES],
    }
    return Result(guide.script(), content)
