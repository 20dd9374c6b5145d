"""Rasteriser, interpolation, antialiasing, texture, light and compositing, differentiable in what a camera sees."""
