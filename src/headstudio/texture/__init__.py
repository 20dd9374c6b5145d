"""Textures from video: unprojection, blend masks, filling of what was not seen."""
