"""Batches as a pure function of (seed, stage, step): nothing to save, nothing to restore, decoded ahead of use."""

import random
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool
from torch import Tensor
from torch.nn import functional as F

from headstudio.errors import HeadstudioError
from headstudio.records.capture import Annotation
from headstudio.records.channels import FACE_CROP, Channel, Channels, Scene, to_device
from headstudio.training.annotation_store import AnnotationStore
from headstudio.training.contract import Batch, Role, Source, Sources
from headstudio.training.stages import Player, Sampler, Stage

if TYPE_CHECKING:
    from headstudio.capture.face_crop import FaceCrop

MEMORY_LIMIT_BYTES = 3 * 2**30
"""Decoded frames are kept in memory up to this size and read again beyond it."""


class FrameStore:
    """Decoded frames and mattes of one source at one resolution."""

    def __init__(self, source: Source, size_px: int) -> None:
        self.source, self.size_px = source, size_px
        self.channels = 4 if Annotation.MATTE in source.capture.annotations else 3
        self._kept: dict[int, Tensor] = {}
        self._room = MEMORY_LIMIT_BYTES // (self.channels * size_px * size_px)
        valid = source.capture.views[0].valid[None, None].float()
        self.valid: Bool[Tensor, "1 1 height width"] = _resize(valid, size_px) > 0.999

    def __getitem__(self, frame: int) -> Tensor:
        """RGB and, where there is one, matte: (3 or 4, size, size) uint8."""
        if frame not in self._kept:
            picture = self._read(frame)
            if len(self._kept) >= self._room:
                return picture
            self._kept[frame] = picture
        return self._kept[frame]

    def _read(self, frame: int) -> Tensor:
        capture = self.source.capture
        parts = [capture.image(frame)] + ([capture.matte(frame)] if self.channels == 4 else [])
        resized = _resize(torch.cat(parts)[None].float(), self.size_px)
        return resized[0].round().clamp(0, 255).to(torch.uint8)


class BatchStream:
    """The batches of one stage for one rank, assembled by a worker one step ahead."""

    def __init__(
        self,
        sources: Sources,
        stage: Stage,
        seed: int,
        rank: int,
        device: torch.device,
        signals: Callable[[Source], Channels] = lambda _: {},
    ) -> None:
        self._stage, self._seed, self._rank, self._device = stage, seed, rank, device
        roles = {player.role for player in stage.players}
        self._pools = {
            role: [_Pool(s, stage.sampler, role, signals(s)) for s in sources.get(role, ())] for role in roles
        }
        for role, pools in self._pools.items():
            if not pools:
                raise HeadstudioError(
                    f"stage {stage.name} needs a source for the role {role}", next_step="name its capture"
                )
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="batches")
        self._ahead: dict[tuple[str, int], Future[Batch]] = {}

    def batch(self, player: Player, step: int) -> Batch:
        """The player's batch at a step; the step after is begun in the background."""
        current = self._ahead.pop((player.role, step), None) or self._begin(player.role, step)
        self._ahead.setdefault((player.role, step + 1), self._begin(player.role, step + 1))
        return current.result()

    def close(self) -> None:
        """Stop the worker."""
        self._worker.shutdown(wait=True, cancel_futures=True)

    def _begin(self, role: Role, step: int) -> "Future[Batch]":
        return self._worker.submit(self._assemble, role, step)

    def _assemble(self, role: Role, step: int) -> Batch:
        pools = self._pools[role]
        draw = random.Random(f"{self._seed}/{self._stage.name}/{role}/{self._rank}/{step}")
        pool = draw.choices(pools, weights=[len(p.starts) for p in pools])[0]
        return pool.batch(f"{self._seed}/{self._stage.name}/{self._rank}", step, role, self._device)


class _Pool:
    """The training frames of one source and how to draw from them."""

    def __init__(self, source: Source, sampler: Sampler, role: Role, signals: Channels) -> None:
        self.source, self.sampler = source, sampler
        self.motion = source.motion.with_channels(signals)
        size_px = sampler.size_px or source.capture.size_px
        self.store = FrameStore(source, size_px) if sampler.images else None
        wanted = sampler.annotations & source.capture.annotations if sampler.images else frozenset()
        self.annotations = {kind: AnnotationStore(source.capture, kind, size_px) for kind in wanted}
        self.crops = _face_crops(source) if sampler.face_crops else None
        usable = usable_training_frames(source)
        known = set(usable)
        self.starts = [f for f in usable if all(f + i in known for i in range(sampler.window))]
        if not self.starts:
            raise HeadstudioError(
                f"the {role} capture has no usable run of {sampler.window} training frames",
                where=source.capture.path,
                next_step="look at its track report and record a better clip",
            )

    def batch(self, seed: str, step: int, role: Role, device: torch.device) -> Batch:
        starts = [self._draw(seed, step * self.sampler.batch_size + i) for i in range(self.sampler.batch_size)]
        frames = torch.tensor([start + i for start in starts for i in range(self.sampler.window)])
        view = self.source.track.view(frames, size_px=self.store.size_px if self.store else None)
        batch = Batch(
            role=role,
            source_key=self.source.key,
            frames=frames,
            channels=to_device(self._signals(frames), device),
            view=view.to(device),
            scene=Scene(light_sh=self.source.track.light_sh[frames]).to(device),
            confidence=self.source.track.confidence[frames].to(device),
        )
        return self._with_pictures(batch, self.store, device) if self.store else batch

    def _signals(self, frames: Tensor) -> dict[Channel, Tensor]:
        tracked = self.motion.at(frames)
        return tracked if self.crops is None else {**tracked, FACE_CROP: self.crops[frames].signal()}

    def _with_pictures(self, batch: Batch, store: FrameStore, device: torch.device) -> Batch:
        pictures = torch.stack([store[int(frame)] for frame in batch.frames]).to(device).float().div_(255)
        capture = self.source.capture
        landmarks_px = capture.views[0].landmarks_px[batch.frames] * (store.size_px / capture.size_px)
        return replace(
            batch,
            image=pictures[:, :3],
            matte=pictures[:, 3:] if store.channels == 4 else None,
            valid=store.valid.to(device),
            landmarks_px=landmarks_px.to(device),
            parsing=self._annotated(Annotation.PARSING, batch, device),
            normals=self._annotated(Annotation.NORMALS, batch, device),
        )

    def _annotated(self, kind: Annotation, batch: Batch, device: torch.device) -> Tensor | None:
        if kind not in self.annotations:
            return None
        return torch.stack([self.annotations[kind][int(frame)] for frame in batch.frames]).to(device)

    def _draw(self, seed: str, count: int) -> int:
        # Every epoch visits all frames once, in an order that only the seed decides.
        epoch, position = divmod(count, len(self.starts))
        order = self._order(f"{seed}/{self.source.key}/{epoch}")
        return order[position]

    def _order(self, key: str) -> Sequence[int]:
        if getattr(self, "_order_key", None) != key:
            self._order_key, self._order_value = key, random.Random(key).sample(self.starts, len(self.starts))
        return self._order_value


def _face_crops(source: Source) -> "FaceCrop":
    from headstudio.capture.face_crop import face_crops  # OpenCV is slow to import

    return face_crops(source.capture)


def usable_training_frames(source: Source) -> list[int]:
    """Frames that may be learned from: in the training part, and not rejected by the tracker."""
    return [frame for frame in source.capture.train_frames if bool(source.track.usable[frame])]


def spread_out(frames: Sequence[int], count: int) -> list[int]:
    """Every n-th of some frames, about `count` of them or a few more; all where there are fewer."""
    return list(frames[:: max(len(frames) // count, 1)])


def _resize(pictures: Tensor, size_px: int) -> Tensor:
    if pictures.shape[-1] == size_px:
        return pictures
    return F.interpolate(pictures, (size_px, size_px), mode="bilinear", antialias=True, align_corners=False)
