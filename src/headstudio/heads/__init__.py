"""Parametric heads: MakeHuman (default), ICT-FaceKit, FLAME (the user's file), all behind `HeadModel`."""
