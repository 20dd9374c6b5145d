"""Start a Warp kernel on the memory of PyTorch tensors, on the stream PyTorch is using."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import cache
from math import prod
from typing import Any

import torch
import warp as wp
from torch import Tensor


def launch(kernel: Any, threads: int, *arguments: object) -> None:
    """Run `kernel` over `threads` indices.

    Tensors must be contiguous; they are handed over without a copy, viewed as the element type (scalar or vector) that
    the kernel's annotation names. The first tensor decides the device.
    """
    if threads == 0:
        return
    initialise()
    device = next(argument.device for argument in arguments if isinstance(argument, Tensor))
    handed = [
        _hand_over(argument, parameter.type.dtype) if isinstance(argument, Tensor) else argument
        for argument, parameter in zip(arguments, kernel.adj.args, strict=True)
    ]
    if device.type == "cpu":
        wp.launch(kernel, threads, inputs=handed, device="cpu", record_tape=False)
    else:
        stream = wp.stream_from_torch(torch.cuda.current_stream(device))
        wp.launch(kernel, threads, inputs=handed, stream=stream, record_tape=False)


def _hand_over(tensor: Tensor, dtype: Any) -> object:
    components = getattr(dtype, "_shape_", ())
    elements = tensor.detach().view(tensor.numel() // prod(components), *components)
    return wp.from_torch(elements, dtype=dtype, return_ctype=True)


@cache
def initialise() -> None:
    """Start Warp once, without its greeting."""
    # Warp 1.19 replaced the switch `quiet` by a log level.
    silencer = "log_level" if hasattr(wp.config, "log_level") else "quiet"
    setattr(wp.config, silencer, getattr(wp, "LOG_WARNING", True))
    with nullcontext() if torch.cuda.is_available() else _standard_error_closed():
        wp.init()


@contextmanager
def _standard_error_closed() -> Iterator[None]:
    # Warp's native library writes to stderr that there is no CUDA driver, whatever its log level.
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(nowhere)
        os.close(kept)
