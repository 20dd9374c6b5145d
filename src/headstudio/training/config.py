"""Configurations as plain data and back: frozen dataclass trees in JSON."""

from typing import Any, TypeVar

import cattrs

from headstudio.errors import HeadstudioError

T = TypeVar("T")


def to_plain(config: Any) -> Any:
    """Dictionaries, lists, strings and numbers that say the same as a dataclass tree."""
    return cattrs.Converter().unstructure(config)


def from_plain(cls: type[T], plain: Any, where: object = None) -> T:
    """The dataclass tree that `to_plain` took apart; unknown and ill-typed fields are refused."""
    try:
        return cattrs.Converter(forbid_extra_keys=True).structure(plain, cls)
    except (cattrs.BaseValidationError, TypeError, ValueError, KeyError) as error:
        reasons = "; ".join(cattrs.transform_error(error)) if isinstance(error, Exception) else str(error)
        raise HeadstudioError(
            f"the configuration does not fit this version: {reasons}",
            where=where,
            next_step="train again or update headstudio",
        ) from None
