"""Signals that drive avatars: formats, neutral frames, transfer between people, resampling."""
