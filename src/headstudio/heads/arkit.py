"""The 52 blendshape names of Apple's ARKit, in the order in which its capture files list them."""

ARKIT_NAMES = (
    "eyeBlinkLeft", "eyeLookDownLeft", "eyeLookInLeft", "eyeLookOutLeft", "eyeLookUpLeft", "eyeSquintLeft",
    "eyeWideLeft", "eyeBlinkRight", "eyeLookDownRight", "eyeLookInRight", "eyeLookOutRight", "eyeLookUpRight",
    "eyeSquintRight", "eyeWideRight", "jawForward", "jawRight", "jawLeft", "jawOpen", "mouthClose", "mouthFunnel",
    "mouthPucker", "mouthRight", "mouthLeft", "mouthSmileLeft", "mouthSmileRight", "mouthFrownLeft",
    "mouthFrownRight", "mouthDimpleLeft", "mouthDimpleRight", "mouthStretchLeft", "mouthStretchRight",
    "mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper", "mouthPressLeft", "mouthPressRight",
    "mouthLowerDownLeft", "mouthLowerDownRight", "mouthUpperUpLeft", "mouthUpperUpRight", "browDownLeft",
    "browDownRight", "browInnerUp", "browOuterUpLeft", "browOuterUpRight", "cheekPuff", "cheekSquintLeft",
    "cheekSquintRight", "noseSneerLeft", "noseSneerRight", "tongueOut",
)  # fmt: skip
"""Left and right are the person's."""

ARKIT_INDEX = {name: index for index, name in enumerate(ARKIT_NAMES)}

GAZE_DIRECTIONS = ("Up", "Down", "In", "Out")
"""The four eyeLook shapes of an eye; `HeadData.gaze_full_rad` follows this order."""


def gaze_columns(direction: str) -> tuple[int, int]:
    """Where eyeLook`direction` of the left and the right eye stand among the names."""
    return ARKIT_INDEX[f"eyeLook{direction}Left"], ARKIT_INDEX[f"eyeLook{direction}Right"]


JAW_OPEN = ARKIT_INDEX["jawOpen"]
