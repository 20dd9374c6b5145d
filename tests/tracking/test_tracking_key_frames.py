"""The choice of key frames."""

import torch

from headstudio.tracking.keyframes import choose_key_frames


def wandering(frames: int = 100) -> torch.Tensor:
    time = torch.linspace(0, 6, frames)
    return torch.stack([torch.sin(time), torch.cos(time)], dim=1) * 5


def test_chosen_frames_spread_and_are_eligible() -> None:
    features, eligible = wandering(), torch.arange(100) < 80
    chosen = choose_key_frames(features, eligible, 10)
    assert len(chosen) == 10 and len(chosen.unique()) == 10 and int(chosen.max()) < 80
    assert torch.equal(chosen, chosen.sort().values)
    nearest = torch.cdist(features[:80], features[chosen]).min(1).values
    evenly = torch.cdist(features[:80], features[torch.arange(10)]).min(1).values
    assert float(nearest.max()) < 0.5 * float(evenly.max())


def test_a_sudden_jump_is_not_a_key_frame() -> None:
    features = wandering()
    features[40] = 100.0
    assert 40 not in choose_key_frames(features, torch.ones(100, dtype=torch.bool), 20).tolist()


def test_held_out_frames_do_not_decide() -> None:
    features, eligible = wandering(), torch.arange(100) < 60
    changed = features.clone()
    changed[61:] = torch.randn(39, 2, generator=torch.Generator().manual_seed(0)) * 50
    assert torch.equal(choose_key_frames(features, eligible, 8), choose_key_frames(changed, eligible, 8))


def test_still_and_short_clips_have_few_key_frames() -> None:
    assert choose_key_frames(torch.zeros(50, 2), torch.ones(50, dtype=torch.bool), 8).numel() == 1
    assert choose_key_frames(torch.zeros(1, 2), torch.ones(1, dtype=torch.bool), 8).tolist() == [0]
    assert choose_key_frames(wandering(3), torch.ones(3, dtype=torch.bool), 8).numel() >= 1
