"""Refuse what would let a kernel read foreign memory."""

from jaxtyping import Int
from torch import Tensor

from headstudio.errors import HeadstudioError


def check_indices(indices: Int[Tensor, "..."], count: int, name: str) -> None:
    """Refuse indices outside [0, count)."""
    if indices.numel():
        lowest, highest = (int(bound) for bound in indices.aminmax())
        if lowest < 0 or highest >= count:
            next_step = "pass the table that belongs to this mesh"
            raise HeadstudioError(f"an index is outside 0 to {count - 1}", where=name, next_step=next_step)


def check_shape(tensor: Tensor, expected: tuple[int | None, ...], name: str) -> None:
    """Refuse a shape that differs from the expected one; None stands for any size."""
    fits = tensor.ndim == len(expected) and all(e in (None, s) for e, s in zip(expected, tensor.shape, strict=True))
    if not fits:
        wanted = " x ".join("any" if size is None else str(size) for size in expected)
        found = " x ".join(str(size) for size in tensor.shape)
        raise HeadstudioError(f"the shape is {found}", where=name, next_step=f"pass {wanted}")


def check_batch(tensor: Tensor, batch: int, name: str) -> None:
    """Refuse a batch that is neither 1 nor that of the picture."""
    if len(tensor) not in (1, batch):
        next_step = f"pass 1, for all, or {batch}"
        raise HeadstudioError(f"there are {len(tensor)} batch entries", where=name, next_step=next_step)
