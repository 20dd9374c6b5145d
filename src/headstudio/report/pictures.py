"""Pictures inside a page, and pictures side by side."""

import base64
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw
from torch import Tensor

from headstudio import storage
from headstudio.report.markup import Markup, element

_QUALITY = 85
_LABEL_PX = 16
_LABEL_SIZE_PX = 11
_INK, _PAPER = (235, 235, 235), (28, 28, 30)


def inline(picture: UInt8[Tensor, "3 height width"], description: str) -> Markup:
    """A picture that travels inside the page, as JPEG."""
    buffer = io.BytesIO()
    _image(picture).save(buffer, "JPEG", quality=_QUALITY)
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    height, width = picture.shape[-2:]
    return element("img", src=f"data:image/jpeg;base64,{data}", alt=description, width=width, height=height)


def contact_sheet(
    pictures: Sequence[UInt8[Tensor, "3 height width"]],
    labels: Sequence[str],
    columns: int,
    cell_px: int = 160,
) -> UInt8[Tensor, "3 sheet_height sheet_width"]:
    """Square cells row by row, each with its label below; pictures of any size are shrunk or grown into them."""
    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (columns * cell_px, max(rows, 1) * (cell_px + _LABEL_PX)), _PAPER)
    draw = ImageDraw.Draw(sheet)
    for index, (picture, label) in enumerate(zip(pictures, labels, strict=True)):
        left, top = index % columns * cell_px, index // columns * (cell_px + _LABEL_PX)
        sheet.paste(_image(picture).resize((cell_px, cell_px), Image.Resampling.LANCZOS), (left, top))
        draw.text((left + 4, top + cell_px + 1), label, fill=_INK, font_size=_LABEL_SIZE_PX)
    return torch.from_numpy(np.array(sheet)).permute(2, 0, 1).contiguous()


def save_png(path: Path, picture: UInt8[Tensor, "3 height width"]) -> None:
    """Write a picture as PNG."""
    with storage.replacing_file(path) as building:
        _image(picture).save(building, "PNG")


def error_map(
    picture: UInt8[Tensor, "3 height width"], truth: UInt8[Tensor, "3 height width"], white: float = 0.25
) -> UInt8[Tensor, "3 height width"]:
    """Mean absolute difference of colours, black to red to yellow to white; `white` (of 1) and more is white."""
    error: Float[Tensor, "height width"] = (picture.float() - truth.float()).abs().mean(0) / (255 * white)
    ramps = [(3 * error - offset).clamp(0, 1) for offset in range(3)]
    return (torch.stack(ramps) * 255).round().to(torch.uint8)


def spread(indices: Sequence[int], count: int) -> list[int]:
    """At most `count` of the indices, evenly spread, the first and the last among them."""
    count = min(count, len(indices))
    return [indices[round(i * (len(indices) - 1) / max(count - 1, 1))] for i in range(count)]


def _image(picture: UInt8[Tensor, "3 height width"]) -> Image.Image:
    return Image.fromarray(picture.permute(1, 2, 0).contiguous().cpu().numpy())
