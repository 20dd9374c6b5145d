"""The one kind of error a user sees: what happened, where, and what to do next."""


class HeadstudioError(Exception):
    """A failure that the user can act on, told in one sentence.

    Args:
        what: what went wrong, without a final full stop.
        where: the file, frame or field concerned.
        next_step: what the user can do about it.
    """

    def __init__(self, what: str, *, where: object = None, next_step: str) -> None:
        self.what, self.where, self.next_step = what, where, next_step
        place = "" if where is None else f" ({where})"
        super().__init__(f"{what}{place}: {next_step}.")
