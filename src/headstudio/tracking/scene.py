"""Everything that frames are solved with once it is known who is filmed and through which lens."""

from dataclasses import dataclass, replace

from jaxtyping import Bool, Float
from torch import Tensor

from headstudio.geometry.camera import Camera
from headstudio.heads.base import HeadModel
from headstudio.tracking.config import TrackingConfig
from headstudio.tracking.gaps import gap_term
from headstudio.tracking.observations import Observations, landmark_term
from headstudio.tracking.points import FrameState, PointModel, embed, landmark_model
from headstudio.tracking.priors import prior_term
from headstudio.tracking.sights import Sight, before, in_view
from headstudio.tracking.solver import Bounds, Term
from headstudio.tracking.surface import SurfacePoints, points_on, skin_points

_OUTLINED = ("face", "ears", "scalp", "nose")
_OUTLINE_POINTS = 300


@dataclass(frozen=True)
class Scenery:
    """What does not change while frames are refined; it can be sent to other processes."""

    head: HeadModel
    neutral_m: Float[Tensor, "1 vertices 3"]
    landmarks: PointModel
    """Landmarks of this person."""
    points: SurfacePoints
    """Where the surface is compared with the pictures."""
    skin: PointModel
    """The same points in closed form, of this person."""
    outline: PointModel
    """Points all over the head of this person, which must not stick out of the silhouette."""
    size_px: int
    """Side of the stored frames."""
    observed: Observations
    prior: Term
    """Of a frame's unknowns."""
    bounds: Bounds
    config: TrackingConfig
    others: tuple[Sight, ...] = ()
    """What further views saw."""

    @property
    def camera(self) -> Camera:
        """Of all stored frames of the first view."""
        return Camera(self.observed.K_px, self.size_px, self.size_px)

    @property
    def seen(self) -> Bool[Tensor, " frames"]:
        """Frames in which any view shows a face."""
        seen = self.observed.seen
        for sight in self.others:
            seen = seen | sight.observed.seen
        return seen

    def outlooks(self) -> "list[Outlook]":
        """All views of the frames, the first one first."""
        first = Outlook(0, self.observed, None, self.size_px)
        return [first, *(Outlook(s.view, s.observed, s.T_picture_world, self.size_px) for s in self.others)]

    def frame_terms(self, frames: Tensor) -> list[Term]:
        """What is known of some frames without their pictures."""
        observed = self.observed.at(frames)
        gaps = gap_term(self.landmarks, observed, self.config.solve)
        terms = [landmark_term(self.landmarks, observed), gaps, self.prior]
        for sight in self.others:
            terms += sight.at(frames).landmark_terms(self.landmarks, self.config.solve)
        return terms

    def trusting_landmarks(self, share: float) -> "Scenery":
        """The same with this share of the landmarks' weight."""
        others = tuple(replace(sight, observed=sight.observed.trusted_by(share)) for sight in self.others)
        return replace(self, observed=self.observed.trusted_by(share), others=others)


@dataclass(frozen=True)
class Outlook:
    """How the pictures of one view show the frames."""

    view: int
    """Index in the capture."""
    observed: Observations
    T_picture_world: Float[Tensor, "frames 4 4"] | None
    """None for the first view, which is the world."""
    size_px: int

    @property
    def camera(self) -> Camera:
        """Of all stored frames."""
        return Camera(self.observed.K_px, self.size_px, self.size_px)

    def states(self, states: FrameState, frames: Tensor) -> FrameState:
        """Heads of some frames before this camera."""
        return states if self.T_picture_world is None else before(states, self.T_picture_world[frames])

    def term(self, term: Term, frames: Tensor) -> Term:
        """A cost of some frames before this camera as one of heads in the world."""
        return term if self.T_picture_world is None else in_view(term, self.T_picture_world[frames])


def set_the_scene(
    head: HeadModel, identity: Tensor, observed: Observations, size_px: int, config: TrackingConfig
) -> Scenery:
    """Choose the surface points and bake the person into them."""
    points = skin_points(head, config.photometric.samples, config.seed)
    models = landmark_model(head), embed(head, points.corners, points.barycentric), outline_model(head, config.seed)
    landmarks, skin, outline = (model.personal(identity) for model in models)
    return Scenery(
        head=head,
        neutral_m=head.neutral(identity[None]),
        landmarks=landmarks,
        points=points,
        skin=skin,
        outline=outline,
        size_px=size_px,
        observed=observed,
        prior=prior_term(head, config.solve),
        bounds=Bounds(*head.data.expression_range),
        config=config,
    )


def outline_model(head: HeadModel, seed: int) -> PointModel:
    """Points all over the head, without neck and shoulders."""
    points = points_on(head, head.region(*_OUTLINED), _OUTLINE_POINTS, seed)
    return embed(head, points.corners, points.barycentric)
