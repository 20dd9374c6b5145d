"""FLAME 2020/2023 from the user's own file: its licence does not allow to pass it on."""

from headstudio.heads.flame.model import load

__all__ = ["load"]
