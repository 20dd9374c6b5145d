"""An avatar that paints its weights, and performers whose truth is known."""

from dataclasses import replace

import numpy as np
import roma
import torch

from headstudio.heads import load_head
from headstudio.live.pipeline import Parcel
from headstudio.live.sources import LiveSource, SourceEndedError, Taken
from headstudio.motion.arkit import INDEX, NAMES
from headstudio.records.channels import ARKIT
from headstudio.tracking.points import landmark_model
from headstudio.tracking.solver import project
from headstudio.training.avatars import describe
from headstudio_toys.plain import PlainConfig, PlainToy
from support.tiny import tiny_source

FACING = torch.tensor([[1.0, 0.0, 0.0], [0.0, -1.0, 0.0], [0.0, 0.0, -1.0]])
SIZE_PX = 256


def painted_weights(folder):
    """A toy whose red tells jawOpen, green mouthSmileLeft and blue eyeBlinkLeft, and its person at rest."""
    source = tiny_source(folder)
    avatar = PlainToy(PlainConfig())
    avatar.setup({"target": (source,)})
    with torch.no_grad():
        avatar.colour.weight.zero_()
        avatar.colour.bias.fill_(-2.0)
        for row, name in enumerate(("jawOpen", "mouthSmileLeft", "eyeBlinkLeft")):
            avatar.colour.weight[row, INDEX[name]] = 4.0
    at_rest = describe(avatar, "toy-plain", "draft", {"target": (source,)}).at_rest
    calm = {**at_rest.channels, ARKIT: torch.zeros(len(NAMES))}
    return avatar.eval().requires_grad_(False), replace(at_rest, channels=calm)


def told(picture):
    """The weights of jawOpen, mouthSmileLeft and eyeBlinkLeft that a picture of that toy shows."""
    colour = torch.tensor(picture[0, 0] / 255.0).clamp(1e-3, 1 - 1e-3)
    return ((colour.logit() + 2) / 4).tolist()


def weights(**named):
    """One row of ARKit weights."""
    row = torch.zeros(1, len(NAMES))
    for name, value in named.items():
        row[0, INDEX[name]] = value
    return row


class Script(LiveSource):
    """Gives signals at a steady rate, or as fast as they are taken; `endless` repeats the last."""

    name, pictures = "script", False

    def __init__(self, rows, fps=0.0, endless=False, neutral=True):
        super().__init__()
        self.rows, self.step_s, self.endless, self.given = list(rows), 1 / fps if fps else 0.0, endless, 0
        if neutral:
            self.neutral = {ARKIT: torch.zeros(len(NAMES))}

    def open(self):
        self.given = 0

    def next(self):
        if self.given >= len(self.rows) and not self.endless:
            raise SourceEndedError
        if not self.pause(self.step_s):
            return None
        row = self.rows[min(self.given, len(self.rows) - 1)]
        self.given += 1
        return Taken(self.given * max(self.step_s, 1e-3), signals={ARKIT: row})

    def close(self):
        pass


class Kept:
    """An output that keeps what it gets."""

    name = "kept"

    def __init__(self, most=10_000):
        self.parcels: list[Parcel] = []
        self.finished, self.most = 0, most

    def __call__(self, parcel):
        if len(self.parcels) < self.most:
            self.parcels.append(parcel)
        return True

    def finish(self):
        self.finished += 1


class Filmed(LiveSource):
    """A person before a camera: red tells the number of the picture, green and blue where a pixel lies in it."""

    name, pictures = "filmed", True

    def __init__(self, frames, fps=25.0, step_s=0.001):
        super().__init__()
        self.frames, self.fps, self.step_s, self.given = frames, fps, step_s, 0
        assert frames < 255

    def open(self):
        self.given = 0

    def next(self):
        if self.given == self.frames:
            raise SourceEndedError
        if not self.pause(self.step_s):
            return None
        picture = np.zeros((SIZE_PX, SIZE_PX, 3), np.uint8)
        picture[..., 1], picture[..., 2] = np.arange(SIZE_PX)[None], np.arange(SIZE_PX)[:, None]
        self.given += 1
        picture[..., 0] = self.given
        return Taken(self.given / self.fps, picture)

    def close(self):
        pass


def performed(frames=150, moving_from=100, seed=0):
    """Landmarks of a person at rest who then opens the jaw, and the truth of jawOpen."""
    head = load_head("makehuman")
    draw = torch.Generator().manual_seed(seed)
    model = landmark_model(head)
    identity = 0.5 * torch.randn(head.identities, generator=draw)
    jaw = torch.zeros(frames)
    moved = frames - moving_from
    jaw[moving_from:] = 0.7 * torch.sin(torch.linspace(0, torch.pi, moved))
    expression = torch.zeros(frames, head.expressions)
    expression[:, head.data.expression_names.index("jawOpen")] = jaw
    turn = torch.zeros(frames, 3)
    turn[:, 1] = 0.1 * torch.sin(torch.arange(frames) / 15)
    place = torch.tensor([0.0, 0.0, 0.6]).expand(frames, 3)
    states = model.rest(frames)._replace(
        rotation=FACING @ roma.rotvec_to_rotmat(turn), translation_m=place, expression=expression
    )
    K_px = torch.tensor([[500.0, 0, SIZE_PX / 2], [0, 500.0, SIZE_PX / 2], [0, 0, 1]])
    camera_m = model.positions(states, identity) @ states.rotation.transpose(1, 2) + place[:, None]
    pixels = project(camera_m, K_px.expand(frames, 3, 3))
    depth = (camera_m[..., 2:] - 0.6) * 500.0 / 0.6
    return torch.cat([pixels, depth], dim=-1).numpy().astype(np.float64), jaw


class Knowing:
    """Stands in for MediaPipe and knows the landmarks in every picture of `Filmed`; some pictures show nobody."""

    def __init__(self, landmarks_px, hidden=()):
        self.landmarks_px, self.hidden, self.closed = landmarks_px, set(hidden), False

    def find(self, image):
        points = self.landmarks_px[int(image[..., 0].max()) - 1]
        low, high = points[:, :2].min(0), points[:, :2].max(0)
        return np.array([[*low, *(high - low)]])

    def detect(self, image):
        number = int(np.bincount(image[image[..., 0] > 0][:, 0]).argmax()) - 1
        if number in self.hidden:
            return []
        inside = image[..., 0] == number + 1
        rows, columns = np.nonzero(inside)
        across, left = np.polyfit(columns, image[rows, columns, 1], 1)
        down, top = np.polyfit(rows, image[rows, columns, 2], 1)
        points = self.landmarks_px[number].copy()
        points[:, 0] = (points[:, 0] - 0.5 - left) / across + 0.5
        points[:, 1] = (points[:, 1] - 0.5 - top) / down + 0.5
        points[:, 2] /= across
        return [points]

    def close(self):
        self.closed = True
