"""A small glTF 2.0 evaluator written from the specification: reads a GLB back and moves it."""

import struct
from pathlib import Path

import numpy as np
import pygltflib as gl

_DTYPES = {gl.FLOAT: np.float32, gl.UNSIGNED_BYTE: np.uint8, gl.UNSIGNED_SHORT: np.uint16, gl.UNSIGNED_INT: np.uint32}
_WIDTHS = {gl.SCALAR: 1, gl.VEC2: 2, gl.VEC3: 3, gl.VEC4: 4, gl.MAT4: 16}


class GltfPlayer:
    """The first mesh of a file under its first skin and animation."""

    def __init__(self, path: Path) -> None:
        content = Path(path).read_bytes()
        magic, version, length = struct.unpack_from("<4sII", content)
        assert (magic, version, length) == (b"glTF", 2, len(content))
        self.document = gl.GLTF2().load(str(path))
        self.blob = self.document.binary_blob()
        self.mesh = self.document.meshes[0]
        self.names = self.mesh.extras["targetNames"]
        first = self.mesh.primitives[0]
        self.positions = self.read(first.attributes.POSITION)
        self.normals = self.read(first.attributes.NORMAL)
        self.uv = self.read(first.attributes.TEXCOORD_0)
        self.targets = np.stack([self.read(target["POSITION"]) for target in first.targets])

    def read(self, index: int) -> np.ndarray:
        """The (count, components) values of an accessor."""
        accessor = self.document.accessors[index]
        kind, width = _DTYPES[accessor.componentType], _WIDTHS[accessor.type]
        values = np.zeros((accessor.count, width), kind)
        if accessor.bufferView is not None:
            values[:] = self._raw(accessor.bufferView, kind, accessor.count * width).reshape(-1, width)
        if accessor.sparse is not None:
            sparse = accessor.sparse
            rows = self._raw(sparse.indices.bufferView, _DTYPES[sparse.indices.componentType], sparse.count)
            values[rows] = self._raw(sparse.values.bufferView, kind, sparse.count * width).reshape(-1, width)
        if accessor.min:
            assert np.allclose(values.min(0), accessor.min) and np.allclose(values.max(0), accessor.max)
        return values

    def triangles(self, primitive: int) -> np.ndarray:
        """Vertex rows of a primitive's triangles."""
        return self.read(self.mesh.primitives[primitive].indices).reshape(-1, 3)

    def frame(self, index: int | None = None) -> np.ndarray:
        """Vertices in the scene at a key frame, or at rest."""
        weights, poses = np.zeros(len(self.targets)), {}
        if index is not None:
            animation = self.document.animations[0]
            for channel in animation.channels:
                values = self.read(animation.samplers[channel.sampler].output)
                if channel.target.path == "weights":
                    weights = values.reshape(-1, len(weights))[index]
                else:
                    poses[channel.target.node, channel.target.path] = values[index]
        morphed = self.positions + np.tensordot(weights, self.targets, axes=1)
        return self._skinned(morphed.astype(np.float64), poses)

    def _skinned(self, vertices: np.ndarray, poses: dict) -> np.ndarray:
        skin = self.document.skins[0]
        inverse_bind = self.read(skin.inverseBindMatrices).reshape(-1, 4, 4).transpose(0, 2, 1)
        scene = self._scene_matrices(poses)
        matrices = np.stack([scene[node] @ bind for node, bind in zip(skin.joints, inverse_bind, strict=True)])
        first = self.mesh.primitives[0].attributes
        joints, weights = self.read(first.JOINTS_0), self.read(first.WEIGHTS_0)
        blended = np.einsum("vi,virc->vrc", weights, matrices[joints])
        return np.einsum("vrc,vc->vr", blended[:, :3, :3], vertices) + blended[:, :3, 3]

    def _scene_matrices(self, poses: dict) -> dict[int, np.ndarray]:
        found: dict[int, np.ndarray] = {}

        def visit(node: int, above: np.ndarray) -> None:
            found[node] = above @ self._local(node, poses)
            for child in self.document.nodes[node].children or []:
                visit(child, found[node])

        for root in self.document.scenes[self.document.scene].nodes:
            visit(root, np.eye(4))
        return found

    def _local(self, node: int, poses: dict) -> np.ndarray:
        described = self.document.nodes[node]
        translation = poses.get((node, "translation"), described.translation or [0, 0, 0])
        x, y, z, w = poses.get((node, "rotation"), described.rotation or [0, 0, 0, 1])
        matrix = np.eye(4)
        matrix[:3, :3] = [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
        matrix[:3, 3] = translation
        return matrix

    def _raw(self, view: int, kind: type, count: int) -> np.ndarray:
        described = self.document.bufferViews[view]
        assert described.byteOffset % 4 == 0
        return np.frombuffer(self.blob, kind, count, described.byteOffset)
