"""Parsing without a network: the matte, the regions of the tracked head, and the colours of this person's skin, hair
and clothes, learned from the training frames."""

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from jaxtyping import Bool, Float, UInt8
from scipy.special import expit

from headstudio.capture.colour_models import ColourModel, features
from headstudio.capture.head_zones import HeadProjector, Zones, away_from
from headstudio.capture.matte import guided_filter
from headstudio.errors import HeadstudioError
from headstudio.heads.base import HeadModel
from headstudio.heads.parsing import Label
from headstudio.records.capture import Annotation, Capture
from headstudio.records.track import Track

COLOURED = (Label.SKIN, Label.HAIR, Label.CLOTH)
"""What is told apart by colour; neck and ears have the skin's."""
_LEARNED_FRAMES, _LEARNED_COLOURS = 12, 6000
_PERSON = 128
"""Matte from which a pixel is the person's."""
_SURE = 230
_INNER = 0.06
"""So far inside the projected face (in its heights) nothing but skin is looked for when colours are learned."""
_NO_SKIN = 3.0
"""Something else is learned from what is less likely than all but this percentage of a thing's own colours."""
_SHADING = 18.0
"""Scalp and neck may be so much lighter or darker than the face (8-bit lightness) and still be skin."""
_RIM = 0.025
"""So far from the matte's border (in heights of the face) colours are not mixed with the background's."""
_LEAST_HAIR = 0.12
"""A scalp of which less does not look like skin is bald."""
_BALD_LOG = -4.0
"""Added to the logarithm of hair's chance on a bald head."""
_BORDER = 0.02
"""How sharp the borders of the projected regions are, in heights of the face."""
_RADIUS, _EPSILON = 0.05, 2e-4
"""Of the guided filter that gathers the votes: in heights of the face, and as a variance of colours in [0, 1]."""
_COLOUR_SHARE = 0.6
"""Weight of the colours against the place: pixels of one lock are not independent."""


class HeadParser:
    """Labels the frames of a tracked capture one by one.

    Raises:
        HeadstudioError: where the capture has no matte.
    """

    def __init__(self, capture: Capture, track: Track, head: HeadModel) -> None:
        if Annotation.MATTE not in capture.annotations:
            raise HeadstudioError(
                "parsing without a model needs mattes", where=capture.path, next_step="ingest the video again"
            )
        self._capture = capture
        self._projector = HeadProjector(head, track, capture.size_px)
        self._valid = capture.views[0].valid.numpy()
        usable = [frame for frame in capture.train_frames if bool(track.usable[frame])] or list(capture.train_frames)
        spread = np.linspace(0, len(usable) - 1, min(_LEARNED_FRAMES, len(usable))).astype(int)
        self.colours, self.bald = self._learn([usable[index] for index in spread])

    def parse(self, frame: int) -> UInt8[np.ndarray, "height width"]:
        """`Label` of every pixel of one frame; `UNKNOWN` in padding."""
        image, matte = self._pictures(frame)
        zones = self._projector.zones(frame)
        votes = self._votes(image, zones)
        guide = image.astype(np.float32) / 255
        radius = max(round(_RADIUS * zones.face_px), 1)
        gathered = np.stack([guided_filter(guide, vote, radius, _EPSILON) for vote in votes])
        labels = self._named(np.array(COLOURED)[gathered.argmax(0)], zones)
        labels[matte < _PERSON] = Label.BACKGROUND
        labels[~self._valid] = Label.UNKNOWN
        return labels.astype(np.uint8)

    def _pictures(self, frame: int) -> tuple[np.ndarray, np.ndarray]:
        image = self._capture.image(frame).permute(1, 2, 0).numpy()
        return np.ascontiguousarray(image), self._capture.matte(frame)[0].numpy()

    def _learn(self, frames: list[int]) -> tuple[Mapping[Label, ColourModel], bool]:
        """Colour models from places that leave little doubt, and whether the scalp is bare."""
        seeds: dict[str, list[np.ndarray]] = {"skin": [], "scalp": [], "beside": [], "below": []}
        for frame in frames:
            image, matte = self._pictures(frame)
            zones, colours = self._projector.zones(frame), features(image)
            person = away_from(matte > _SURE, zones.face_px) < -_RIM
            for name, place in _sure_places(zones).items():
                seeds[name].append(colours[place & person])
        face, scalp, beside, below = (_thinned(seeds[name]) for name in ("skin", "scalp", "beside", "below"))
        skin, shaded = ColourModel.fit(face), ColourModel.fit(face, _SHADING)
        if skin is None or shaded is None:
            raise HeadstudioError(
                "the face is nowhere seen well enough to learn its colours",
                where=self._capture.path,
                next_step="look at the track's report",
            )
        hairy = _unlike(scalp, shaded, face)
        bald = len(hairy) > 0 and float(hairy.mean()) < _LEAST_HAIR
        beside = beside[_unlike(beside, shaded, face)]
        hair = None if bald else ColourModel.fit(np.concatenate([scalp[hairy], beside]))
        below = below[_unlike(below, skin, face)]
        if hair is not None:
            below = below[_unlike(below, hair, np.concatenate([scalp[hairy], beside]))]
        models = {Label.SKIN: skin, Label.HAIR: hair, Label.CLOTH: ColourModel.fit(below)}
        return MappingProxyType({label: model for label, model in models.items() if model is not None}), bald

    def _votes(self, image: np.ndarray, zones: Zones) -> Float[np.ndarray, "labels height width"]:
        """Probability of skin, hair and cloth at every pixel, from its place and its colour."""
        colours, unknown = features(image), np.full(image.shape[:2], _BROAD_LOG)
        prior = _prior(zones, self.bald)
        likelihood = [
            self.colours[label].log_likelihood(colours) if label in self.colours else unknown for label in COLOURED
        ]
        # A colour that no model knows (a highlight, a shadow) decides nothing.
        evidence = np.maximum(np.stack(likelihood), _BROAD_LOG) * _COLOUR_SHARE + np.log(prior)
        evidence -= evidence.max(0)
        votes = np.exp(evidence)
        return (votes / votes.sum(0)).astype(np.float32)

    def _named(self, labels: np.ndarray, zones: Zones) -> np.ndarray:
        """Split what looks like skin by the part of the head it lies on, and put in what only the head knows."""
        skin = labels == Label.SKIN
        neck = away_from(zones.projected == Label.NECK, zones.face_px)
        face = away_from(np.isin(zones.projected, _FACE), zones.face_px)
        labels[skin & (neck < face)] = Label.NECK
        labels[skin & (zones.projected == Label.EARS)] = Label.EARS
        for label in (Label.EYES, Label.MOUTH):
            labels[zones.projected == label] = label
        return labels


_FACE = (Label.SKIN, Label.EYES, Label.MOUTH, Label.EARS, Label.HAIR)
_BROAD_LOG = -17.0
"""Log-density of a colour that a model does not know: spread evenly over all 8-bit Lab colours it would be -16.6."""


def _sure_places(zones: Zones) -> dict[str, np.ndarray]:
    """The inner face; the scalp well above the face; beside the bare head; below the chin and beside the neck."""
    face = np.isin(zones.projected, (Label.SKIN, Label.EYES, Label.MOUTH))
    inner = (zones.projected == Label.SKIN) & (away_from(face, zones.face_px) < -_INNER)
    off_head = away_from(zones.head, zones.face_px)
    return {
        "skin": inner & (zones.above_chin < 0.95),
        "scalp": (zones.projected == Label.HAIR) & (zones.above_chin > 1.0),
        "beside": (off_head > 0.02) & (zones.above_chin > 0.7),
        "below": (off_head > 0.05) & (zones.above_chin < -0.1),
    }


def _unlike(
    colours: Float[np.ndarray, "colours 3"], model: ColourModel, own: Float[np.ndarray, "own 3"]
) -> Bool[np.ndarray, " colours"]:
    """Which colours are less likely by a model than all but a few of its own."""
    if not len(colours) or not len(own):
        return np.ones(len(colours), bool)
    return model.log_likelihood(colours) < np.percentile(model.log_likelihood(own), _NO_SKIN)


def _prior(zones: Zones, bald: bool) -> Float[np.ndarray, "labels height width"]:
    """Probability of skin, hair and cloth by place alone."""
    above = zones.above_chin
    face = away_from(np.isin(zones.projected, (Label.SKIN, Label.EYES, Label.MOUTH)), zones.face_px)
    neck = away_from(zones.projected == Label.NECK, zones.face_px)
    head = away_from(zones.head, zones.face_px)
    in_face, in_neck, on_head = (expit(-distance / _BORDER) for distance in (face, neck, head))
    low = expit(-(above + 0.35) / 0.12)
    near = np.exp(-np.maximum(zones.aside - 0.75, 0) / 0.25)
    # Off the bare head it is hair above the chin and clothes below, with long hair beside the neck between them.
    skin = 0.02 + 0.06 * near
    hair = (1 - low) * 0.9 + low * 0.25 * near
    cloth = low * (1 - 0.25 * near) + (1 - low) * 0.03
    skin, hair, cloth = (_mixed(v, inside, on_head) for v, inside in ((skin, 0.35), (hair, 0.62), (cloth, 0.02)))
    skin, hair, cloth = (_mixed(v, inside, in_neck) for v, inside in ((skin, 0.6), (hair, 0.12), (cloth, 0.28)))
    deep = expit(-(face + 0.12) / 0.03)
    skin, hair, cloth = (_mixed(v, inside, in_face) for v, inside in ((skin, 0.8), (hair, 0.19), (cloth, 0.005)))
    skin, hair, cloth = (_mixed(v, inside, deep) for v, inside in ((skin, 0.985), (hair, 0.012), (cloth, 0.003)))
    hair = hair * np.exp(_BALD_LOG) if bald else hair
    votes = np.stack([skin, hair, cloth])
    return votes / votes.sum(0)


def _mixed(outside: np.ndarray | float, inside: float, share: np.ndarray) -> np.ndarray:
    return outside * (1 - share) + inside * share


def _thinned(parts: list[np.ndarray]) -> Float[np.ndarray, "colours 3"]:
    colours = np.concatenate(parts) if parts else np.zeros((0, 3), np.float32)
    if len(colours) <= _LEARNED_COLOURS:
        return colours
    return colours[np.random.default_rng(0).choice(len(colours), _LEARNED_COLOURS, replace=False)]
