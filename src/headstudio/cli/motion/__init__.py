"""`headstudio motion`: performances as files, read, edited and written in any format; one module a verb."""

VERBS = {
    "info": "what a motion holds: frames, rate, channels, range",
    "convert": "from one format to another",
    "trim": "a part of a motion",
    "loop": "a motion that can be repeated without a jump",
    "blend": "two motions mixed",
    "resample": "another frame rate",
    "smooth": "less noise, without delay",
    "retarget": "a performance carried over to the rest of another person",
}
"""Every verb with its line of help; `headstudio.cli.motion.<verb>` holds its `Options` and its `run`."""
