"""Start a Warp kernel on the memory of PyTorch tensors, on the stream PyTorch is using."""

from functools import cache

import torch
import warp as wp
from torch import Tensor


def launch(kernel: wp.Kernel, threads: int, *arguments: object) -> None:
    """Run `kernel` over `threads` indices.

    Tensors must be contiguous; they are handed over without a copy, viewed as the element type (scalar or vector) that
    the kernel's annotation names. The first tensor decides the device.
    """
    if threads == 0:
        return
    _initialise()
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


def _hand_over(tensor: Tensor, dtype: type) -> object:
    elements = tensor.detach().view(-1, *getattr(dtype, "_shape_", ()))
    return wp.from_torch(elements, dtype=dtype, return_ctype=True)


@cache
def _initialise() -> None:
    # Warp 1.19 replaced the switch `quiet` by a log level. A machine without CUDA is no news to the user.
    if hasattr(wp.config, "log_level"):
        wp.config.log_level = wp.LOG_ERROR
        wp.init()
        wp.config.log_level = wp.LOG_WARNING
    else:
        wp.config.quiet = True
        wp.init()
