"""One batch of a stage as training draws it, and which parameters a loss reaches."""

import fnmatch

import torch

from headstudio.training.batches import BatchStream


def first_batch(sources, stage, player):
    """What the first step of a stage learns from."""
    stream = BatchStream(sources, stage, 0, 0, torch.device("cpu"))
    batch = stream.batch(player, 0)
    stream.close()
    return batch


def reached(model, value):
    """Names of the parameters that get a gradient from a value."""
    model.zero_grad(set_to_none=True)
    value.backward()
    return {n for n, p in model.named_parameters() if p.grad is not None and bool((p.grad != 0).any())}


def named(model, patterns):
    """Names of the parameters that one of the shell patterns fits."""
    names = dict(model.named_parameters())
    return {n for n in names if any(fnmatch.fnmatchcase(n, p) for p in patterns)}
