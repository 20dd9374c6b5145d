"""ICT-FaceKit (USC, MIT licence) from the user's own file; it brings no tongueOut and no rigged neck."""

from headstudio.heads.ict.model import load

__all__ = ["load"]
