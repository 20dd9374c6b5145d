"""What to film: clip A for who a person is, clip B for how the face moves (paper 1, appendix A), and what to read."""

from collections.abc import Iterable
from dataclasses import dataclass

CLIP_A_S, CLIP_B_S = (12.0, 40.0), (20.0, 60.0)
"""Shortest and longest that is asked for; the paper's clips last about 20 s and under a minute."""
LEAST_YAW_DEG = 60.0
"""Clip A shows the face from so far to either side at least."""
FASTEST_DEG_PER_S = 25.0
"""Turned faster than this, indoor light blurs the pictures."""
LARGEST_GAP_DEG = 15.0
"""No direction of clip A is further from the next one that was seen sharply."""


@dataclass(frozen=True)
class Sentence:
    """Something to say."""

    text: str
    sounds: str
    """The sounds of English that it brings, in ARPAbet."""


@dataclass(frozen=True)
class Expression:
    """Something to do with the face."""

    text: str
    arkit: tuple[str, ...]
    """ARKit units that it moves; `*` stands for Left and Right."""


SENTENCES = (
    Sentence("Peter packed a big bag of bread and butter for Mum.", "P IY T ER K D AE B IH G AH V R EH N F AO M"),
    Sentence(
        "Five thin foxes chew cheap fudge by the old bridge.", "F AY V TH IH N AA K S Z CH UW IY P JH B DH OW L D"
    ),
    Sentence("My brother measured the vase with both his hands.", "M AY B R AH DH ER EH ZH D Z W IH TH OW HH AE"),
    Sentence("The boys enjoy the loud noise of our small town.", "DH B OY Z JH L AW D N AH V S M AO T"),
    Sentence("You should push that good book across, would you?", "Y UW SH UH D P DH AE G B K AH R AO S W"),
    Sentence("The young singer sang a long song at dawn.", "DH Y AH NG S IH ER AE L AO T D N"),
    Sentence("Her girl heard eight early birds and turned away.", "HH ER G L EY T B D Z AE N W"),
)

EXPRESSIONS = (
    Expression("Look into the camera with a calm, closed mouth", ()),
    Expression(
        "Smile with closed lips, then with the teeth", ("mouthSmile*", "mouthDimple*", "cheekSquint*", "mouthUpperUp*")
    ),
    Expression("Open the mouth wide, then put out the tongue", ("jawOpen", "mouthLowerDown*", "tongueOut")),
    Expression("Push the lips forward as for a kiss, then say a long 'oo'", ("mouthPucker", "mouthFunnel")),
    Expression("Blow up both cheeks", ("cheekPuff",)),
    Expression("Roll the lips in and press them", ("mouthRollLower", "mouthRollUpper", "mouthPress*", "mouthClose")),
    Expression(
        "Move the mouth and the jaw to the left, then to the right", ("mouthLeft", "mouthRight", "jawLeft", "jawRight")
    ),
    Expression(
        "Pull the corners of the mouth down, push the chin forward",
        ("mouthFrown*", "mouthShrugLower", "mouthShrugUpper", "mouthStretch*", "jawForward"),
    ),
    Expression("Raise the brows as high as they go", ("browInnerUp", "browOuterUp*", "eyeWide*")),
    Expression("Frown angrily and wrinkle the nose", ("browDown*", "noseSneer*", "eyeSquint*")),
    Expression("Close the eyes for two seconds, then blink twice", ("eyeBlink*",)),
    Expression(
        "With a still head, look left, right, up and down", ("eyeLookIn*", "eyeLookOut*", "eyeLookUp*", "eyeLookDown*")
    ),
    Expression("Turn the head slowly to either side, then up and down", ()),
)

PREPARE = (
    "Even, soft light: a window or a white wall before you, no lamp behind you, no change of light while you film.",
    "Camera upright, at the height of the eyes, an arm's length away; the head fills more than half of the picture.",
    "Lock focus and exposure, switch HDR and beauty filters off, film with 30 frames a second or more.",
    "Take off glasses and hats, tie hair away from the face. A wall that is not quite plain is welcome.",
)
CLIP_A = (
    "Neutral face: mouth closed, teeth together, eyes open, gaze straight ahead of the head and not at the camera.",
    "On a rotating chair: camera on a tripod. Turn from profile to profile in about "
    "twenty seconds, head and shoulders in one piece.",
    "Or by hand: sit still and carry the camera in a semicircle about the head, always pointing at the nose.",
    "No talking, no swallowing; if you must blink, blink and go on.",
)
CLIP_B = (
    "Camera on a tripod or leaning on something: it does not move. Look into it.",
    "Do each of these once, about two seconds each, with a calm face between them:",
    "Then read these sentences aloud at your own pace, with lips that move clearly:",
)


def script() -> str:
    """The whole guide as plain text."""
    lines = ["Before you film", *_dashed(PREPARE), ""]
    lines += [f"Clip A: who you are ({CLIP_A_S[0]:.0f} to {CLIP_A_S[1]:.0f} seconds, about 20)", *_dashed(CLIP_A), ""]
    lines += [f"Clip B: how your face moves (under {CLIP_B_S[1]:.0f} seconds)", *_dashed(CLIP_B[:2])]
    lines += _numbered(expression.text for expression in EXPRESSIONS)
    lines += [*_dashed(CLIP_B[2:]), *_numbered(sentence.text for sentence in SENTENCES), ""]
    return "\n".join([*lines, "Then: headstudio scan CLIP_A -o SCAN"])


def _dashed(lines: tuple[str, ...]) -> list[str]:
    return [f"  - {line}" for line in lines]


def _numbered(lines: Iterable[str]) -> list[str]:
    return [f"    {number:2d}. {line}" for number, line in enumerate(lines, 1)]
