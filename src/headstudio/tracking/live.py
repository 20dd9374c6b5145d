"""Following a known person frame by frame, without looking ahead.

The offline tracker knows the whole clip; here one frame is all there is. Each frame begins where the last one was, so
that two Gauss-Newton steps on the detector's landmarks are enough. The pose is filtered first and the face solved
again around it from the same linearisation, so that the expression does not answer for what the filter took.
"""

import math
from dataclasses import replace
from typing import NamedTuple

import roma
import torch
from jaxtyping import Float
from torch import Tensor

from headstudio.errors import HeadstudioError
from headstudio.geometry.rigid import from_rotation
from headstudio.heads import load_head
from headstudio.heads.base import HeadModel
from headstudio.records.track import Track, TrackView, neutral_light
from headstudio.tracking.calibration import view_direction
from headstudio.tracking.config import CausalConfig
from headstudio.tracking.gaps import face_term
from headstudio.tracking.observations import closed_form_pose, landmark_weights, observe
from headstudio.tracking.one_euro import OneEuro, OneEuroRotation
from headstudio.tracking.points import FrameState, PointModel, articulation, join, landmark_model
from headstudio.tracking.priors import prior_term
from headstudio.tracking.quadratic import bounded_minimum
from headstudio.tracking.quality import landmark_error_m, trust, yaw_rad
from headstudio.tracking.sitter import Sitter
from headstudio.tracking.solver import Bounds, Quadratic, minimise, total

_ONLY = torch.tensor([0])
_DAMPING = 1e-3
_LOST = 3.0
"""A warm start that ends this many times above the usual error is given up for a fresh one."""
_AWAY_M = 0.6
"""Where a head is believed to be that was never seen."""


class Followed(NamedTuple):
    """What one frame showed."""

    state: FrameState
    """One row; the last known one where no face was found."""
    seen: bool
    confidence: float
    """In [0, 1]; 0 without a face."""
    usable: bool
    """Whether it should drive anything."""


class CausalTracker:
    """Follows one person; keeps the last frame and nothing older.

    Args:
        sitter: who it is.
        config: the defaults when not given.
        head: the loaded model that the identity names; spares loading it.
    """

    def __init__(self, sitter: Sitter, config: CausalConfig | None = None, head: HeadModel | None = None) -> None:
        self._config = config or CausalConfig()
        self.sitter = sitter
        self.head = load_head(sitter.identity.head) if head is None else head
        model = landmark_model(self.head, sitter.identity.offsets_m)
        self._model = model.personal(sitter.identity.coefficients)
        self._weight = landmark_weights(self.head, self._config.solve)
        self._prior = prior_term(self.head, self._config.solve)
        self._bounds = Bounds(*self.head.data.expression_range)
        expressions = len(self._model.expression_m)
        jaw = self._model.unknowns - 10 - expressions
        self._filter = _Filter(self._config, expressions, jaw) if self._config.filtered else None
        self._last: Followed | None = None
        self._warm: FrameState | None = None
        """The last solution, unfiltered."""
        self._clock_s = self._sighting_s = self._retried_s = -math.inf
        """Time of the last frame, of the last one with a face, and of the last one that was solved twice."""

    def reset(self) -> None:
        """Forget everything but the person."""
        self._last = self._warm = None
        self._clock_s = self._sighting_s = self._retried_s = -math.inf

    def step(self, landmarks_px: Float[Tensor, "478 3"] | None, time_s: float) -> Followed:
        """Follow the next frame.

        A frame that is not newer than the last one repeats the last answer; a clock that went back further than
        the patience of the config, or ahead by more, begins anew.

        Args:
            landmarks_px: of the detector, in pixels of the sitter's pictures; None or not finite without a face.
            time_s: when it was taken, on any clock.

        Raises:
            HeadstudioError: for landmarks of another shape and for times that are no number.
        """
        self._check(landmarks_px, time_s)
        patience_s = self._config.patience_s
        if time_s <= self._clock_s - patience_s:
            self.reset()
        if time_s <= self._clock_s and self._last is not None:
            return self._last
        self._clock_s = time_s
        if landmarks_px is None or not bool(landmarks_px.isfinite().all()):
            self._last = Followed(self._held(), False, 0.0, False)
            return self._last
        step_s = time_s - self._sighting_s
        if step_s > patience_s:
            self._warm = None
        self._sighting_s = time_s
        self._last = self._follow(landmarks_px, step_s)
        return self._last

    def follow(self, landmarks_px: Float[Tensor, "frames 478 3"], times_s: Float[Tensor, " frames"]) -> Track:
        """All frames of a clip in their order, as the record that the offline tracker gives."""
        clock = times_s.tolist()
        return self.record([self.step(p, t) for p, t in zip(landmarks_px, clock, strict=True)], clock)

    def record(self, frames: list[Followed], times_s: list[float]) -> Track:
        """Followed frames as a `Track`; one frame is enough."""
        states = join([frame.state for frame in frames])
        state, count = articulation(states), len(frames)
        K_px = self.sitter.K_px.expand(count, 3, 3).clone()
        return Track(
            capture_identifier="causal",
            size_px=self.sitter.size_px,
            identity=self.sitter.identity,
            times_s=torch.tensor(times_s, dtype=torch.float64),
            expression=states.expression,
            arkit=self.head.to_arkit(state),
            neck_rad=state.neck_rad,
            jaw_rad=state.jaw_rad,
            gaze_rad=state.gaze_rad,
            T_world_head=from_rotation(states.rotation, states.translation_m),
            views={"main": TrackView(K_px, torch.eye(4).repeat(count, 1, 1))},
            light_sh=neutral_light(count),
            confidence=torch.tensor([frame.confidence for frame in frames]),
            usable=torch.tensor([frame.usable for frame in frames]),
        )

    def _check(self, landmarks_px: Tensor | None, time_s: float) -> None:
        if not math.isfinite(time_s):
            raise HeadstudioError(f"a frame's time must be a number, not {time_s}", next_step="give it in seconds")
        if landmarks_px is not None and landmarks_px.shape != (len(self._weight), 3):
            raise HeadstudioError(
                f"landmarks of shape {tuple(landmarks_px.shape)} came instead of ({len(self._weight)}, 3)",
                next_step="give the detector's landmarks of one face",
            )

    def _held(self) -> FrameState:
        """Where the head is believed to be while it is not seen."""
        if self._last is not None:
            return self._last.state
        facing = torch.diag(torch.tensor([1.0, -1.0, -1.0]))
        return self._model.rest(1)._replace(rotation=facing[None], translation_m=torch.tensor([[0.0, 0.0, _AWAY_M]]))

    def _follow(self, landmarks_px: Tensor, step_s: float) -> Followed:
        points = landmarks_px[None].to(self._weight)
        fresh = self._warm is None
        solved = self._solve(points, self._warm)
        lost = solved.error_m > _LOST * self.sitter.usual_error_m
        if lost and not fresh and self._clock_s - self._retried_s > self._config.patience_s:
            self._retried_s = self._clock_s  # a covered face fits no better the second time: not every frame is slow
            again = self._solve(points, None)
            fresh = again.error_m < solved.error_m
            solved = again if fresh else solved
        self._warm = solved.state
        state = solved.state if self._filter is None else self._filter(solved, self._bounds, step_s, fresh)
        yaw = yaw_rad(state.rotation).abs().rad2deg()
        quality = self._config.quality
        confidence = float(trust(torch.tensor([solved.error_m]), self.sitter.usual_error_m, yaw, quality))
        usable = confidence >= quality.least_confidence and float(yaw) <= quality.largest_yaw_deg
        return Followed(state, True, confidence, usable)

    def _solve(self, points: Tensor, warm: FrameState | None) -> "_Solved":
        """A few steps from the last frame, or a whole solve from the closed-form pose."""
        observed = observe(points, self._weight, self.sitter.K_px[None], self._config.solve)
        start = closed_form_pose(self._model, observed)[0] if warm is None else warm
        observed = observed.at_depth(start.translation_m[:, 2], self._config.solve.noise_m)
        model = self._as_detected(start)
        terms = [face_term(model, observed, self._config.solve), self._prior]
        if warm is None:
            start = minimise(start, terms, self._bounds, self._config.solve.iterations)
        around, state, cost = start, start, total(terms, start, _ONLY, True)
        for step in range(self._config.iterations):
            if step:
                around, cost = state, total(terms, state, _ONLY, True)
            state = _stepped(around, cost, self._bounds)
        return _Solved(state, around, cost, float(landmark_error_m(model, state, observed)))

    def _as_detected(self, state: FrameState) -> PointModel:
        """The person's landmarks where the detector puts them when it looks at the head from there."""
        if self.sitter.bias is None:
            return self._model
        view = torch.cat([torch.ones(1), view_direction(state)[0, :2]])
        return replace(self._model, mean_m=self._model.mean_m + self.sitter.bias @ view)


class _Solved(NamedTuple):
    """One frame before it is filtered."""

    state: FrameState
    around: FrameState
    """Where the last step began."""
    cost: Quadratic
    """The cost around there."""
    error_m: float


class _Filter:
    """One Euro on the pose, then on what the face does around the filtered pose."""

    def __init__(self, config: CausalConfig, expressions: int, jaw: int) -> None:
        speed_hz = config.speed_hz
        pairs = torch.tensor([config.expression] * expressions + [config.gaze] * 4 + [config.jaw] * jaw)
        self._rotation = OneEuroRotation(*config.rotation, speed_hz)
        self._place = OneEuro(*config.translation, speed_hz, together=True)
        self._face = OneEuro(pairs[:, 0], pairs[:, 1], speed_hz)

    def __call__(self, solved: _Solved, bounds: Bounds, step_s: float, fresh: bool) -> FrameState:
        if fresh:
            for part in (self._rotation, self._place, self._face):
                part.reset()
        rotation = self._rotation(solved.state.rotation, step_s)
        place_m = self._place(solved.state.translation_m, step_s)
        around = solved.around
        turn = roma.rotmat_to_rotvec(rotation @ around.rotation.mT)
        state = _stepped(around, solved.cost, bounds, torch.cat([turn, place_m - around.translation_m], dim=1))
        face = self._face(state.flat(), step_s)
        end = state.expression.shape[1]
        gaze = face[:, end : end + 4].unflatten(1, (2, 2))
        return FrameState(rotation, place_m, face[:, :end], gaze, face[:, end + 4 :])


def _stepped(around: FrameState, cost: Quadratic, bounds: Bounds, pose: Tensor | None = None) -> FrameState:
    """The minimum of a quadratic cost; where `pose` is given, the pose makes that step and the rest follows."""
    hessian = cost.hessian + torch.diag_embed(_DAMPING * torch.diagonal(cost.hessian, dim1=1, dim2=2) + 1e-9)
    lower, upper = bounds.around(around)
    if pose is not None:
        lower[:, :6] = upper[:, :6] = pose
    moved = around.moved(bounded_minimum(hessian, cost.descent, lower, upper).to(cost.descent))
    return moved._replace(expression=moved.expression.clamp(bounds.lower, bounds.upper))
