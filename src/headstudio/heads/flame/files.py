"""Read FLAME's pickle without running anything in it: only arrays come out, everything else is refused.

A pickle is a program. The unpickler below lets it name nothing but NumPy's array constructor, SciPy's sparse matrices
and chumpy's array wrapper, and of these the latter two are stand-ins that merely keep the state they are given.
"""

import io
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from headstudio.errors import HeadstudioError


class _Record:
    """Stand-in for an object of the file: it keeps its state and has no behaviour."""

    def __init__(self, *_: Any) -> None:
        self.state: dict[str, Any] = {}

    def __setstate__(self, state: Any) -> None:
        self.state = state if isinstance(state, dict) else {}


class _SparseRecord(_Record):
    pass


class _WrappedRecord(_Record):
    pass


def _reconstruct_array(kind: Any, shape: Any, type_code: Any) -> np.ndarray:
    """NumPy's own first step of unpickling, for plain arrays only."""
    if kind is not np.ndarray:
        raise pickle.UnpicklingError("an array of a foreign class")
    return np.ndarray.__new__(np.ndarray, (0,), dtype="b")


def _reconstruct_record(kind: Any, base: Any, state: Any) -> _Record:
    """`copyreg._reconstructor` for the stand-ins only."""
    if not (isinstance(kind, type) and issubclass(kind, _Record)):
        raise pickle.UnpicklingError("an object of a foreign class")
    return kind()


def _encode(text: Any, encoding: Any = "latin1") -> bytes:
    """How Python 3 writes bytes in old pickles."""
    if not isinstance(text, str) or encoding != "latin1":
        raise pickle.UnpicklingError("text in an unexpected encoding")
    return text.encode("latin1")


_ADMITTED: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct_array,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct_array,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("copy_reg", "_reconstructor"): _reconstruct_record,
    ("copyreg", "_reconstructor"): _reconstruct_record,
    ("__builtin__", "object"): object,
    ("builtins", "object"): object,
    ("_codecs", "encode"): _encode,
}


class _ArrayUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _ADMITTED:
            return _ADMITTED[module, name]
        if module.split(".")[0] == "chumpy":
            return _WrappedRecord
        if module.startswith("scipy.sparse") and name in ("csc_matrix", "csr_matrix"):
            return type(name, (_SparseRecord,), {})
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is no array")


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """The named arrays of a .npz or of a .pkl file; anything in it that is no array is left out."""
    path = Path(path)
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as archive:
                return {name: archive[name] for name in archive.files}
        content = _ArrayUnpickler(io.BytesIO(path.read_bytes()), encoding="latin1").load()
        if not isinstance(content, Mapping):
            raise pickle.UnpicklingError("it holds no table of names")
        arrays = {str(name): _array(value) for name, value in content.items()}
    except OSError as error:
        reason = f"the file cannot be read: {error.strerror or error}"
        raise HeadstudioError(reason, where=path, next_step="check the path") from None
    except Exception as error:  # A damaged pickle can fail in any way, and each of them means the same to the user.
        reason = f"the file was refused: {error or type(error).__name__}"
        raise HeadstudioError(reason, where=path, next_step="use the original file from the model's makers") from None
    return {name: value for name, value in arrays.items() if value is not None}


def _array(value: Any) -> np.ndarray | None:
    if isinstance(value, _WrappedRecord):
        return _array(value.state.get("x"))
    if isinstance(value, _SparseRecord):
        return _dense(value)
    if isinstance(value, np.ndarray) and value.dtype.kind in "fiub":
        return value
    return None


def _dense(record: _SparseRecord) -> np.ndarray:
    from scipy import sparse

    state = record.state
    kind = sparse.csc_matrix if type(record).__name__ == "csc_matrix" else sparse.csr_matrix
    parts = tuple(np.asarray(state[name]) for name in ("data", "indices", "indptr"))
    shape = state["_shape"] if "_shape" in state else state["shape"]
    return kind(parts, shape=tuple(shape)).toarray()
