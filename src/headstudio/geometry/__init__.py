"""Cameras, rigid transforms and mesh topology. Axes and units: docs/conventions.md."""
