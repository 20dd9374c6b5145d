"""The binary side of a GLB file: aligned buffer views and the accessors that give them a meaning."""

import numpy as np
import pygltflib as gl

_COMPONENTS = {
    np.dtype(np.float32): gl.FLOAT,
    np.dtype(np.uint8): gl.UNSIGNED_BYTE,
    np.dtype(np.uint16): gl.UNSIGNED_SHORT,
    np.dtype(np.uint32): gl.UNSIGNED_INT,
}
_TYPES = {1: gl.SCALAR, 2: gl.VEC2, 3: gl.VEC3, 4: gl.VEC4, 16: gl.MAT4}
_SPARSE_OVERHEAD_BYTES = 250  # of JSON for two more buffer views


class GlbBuffer:
    """Collects arrays into one binary chunk and their description into a glTF document."""

    def __init__(self, document: gl.GLTF2) -> None:
        self.document = document
        self.blob = bytearray()

    def accessor(self, values: np.ndarray, target: int | None = None, bounds: bool = False) -> int:
        """Index of a new accessor of (count,) or (count, components) values, with min and max if asked."""
        values = np.ascontiguousarray(values)
        accessor = self._describe(values, bounds)
        accessor.bufferView = self.view(values.tobytes(), target)
        return self._add(accessor)

    def displacements(self, values: np.ndarray, threshold: float, sparse: bool) -> int:
        """Index of a new accessor of float32 (count, 3) values; sparse where that is smaller and allowed.

        Rows that are nowhere larger than `threshold` count as zero in either form.
        """
        values = np.where(np.abs(values).max(axis=1, keepdims=True) > threshold, values, np.float32(0))
        rows = np.flatnonzero(values.any(axis=1))
        rows = rows if len(rows) else np.zeros(1, dtype=np.intp)  # an accessor needs some content
        indices = rows.astype(np.uint16 if len(values) <= 0xFFFF else np.uint32)
        if not sparse or indices.nbytes + 12 * len(rows) + _SPARSE_OVERHEAD_BYTES >= values.nbytes:
            return self.accessor(values, gl.ARRAY_BUFFER, bounds=True)
        accessor = self._describe(values, bounds=True)
        moved = np.ascontiguousarray(values[rows])
        accessor.sparse = gl.Sparse(
            count=len(rows),
            indices=gl.AccessorSparseIndices(
                bufferView=self.view(indices.tobytes()), byteOffset=0, componentType=_COMPONENTS[indices.dtype]
            ),
            values=gl.AccessorSparseValues(bufferView=self.view(moved.tobytes()), byteOffset=0),
        )
        return self._add(accessor)

    def view(self, content: bytes, target: int | None = None) -> int:
        """Index of a new buffer view, which starts on a multiple of 4 bytes."""
        self.blob.extend(b"\0" * (-len(self.blob) % 4))
        view = gl.BufferView(buffer=0, byteOffset=len(self.blob), byteLength=len(content), target=target)
        self.blob.extend(content)
        self.document.bufferViews.append(view)
        return len(self.document.bufferViews) - 1

    def close(self) -> None:
        """Attach the binary chunk to the document."""
        self.blob.extend(b"\0" * (-len(self.blob) % 4))
        self.document.buffers.append(gl.Buffer(byteLength=len(self.blob)))
        self.document.set_binary_blob(bytes(self.blob))

    def _describe(self, values: np.ndarray, bounds: bool) -> gl.Accessor:
        table = values.reshape(len(values), -1)
        return gl.Accessor(
            byteOffset=None,
            componentType=_COMPONENTS[values.dtype],
            count=len(table),
            type=_TYPES[table.shape[1]],
            min=table.min(axis=0).tolist() if bounds else None,
            max=table.max(axis=0).tolist() if bounds else None,
        )

    def _add(self, accessor: gl.Accessor) -> int:
        self.document.accessors.append(accessor)
        return len(self.document.accessors) - 1
