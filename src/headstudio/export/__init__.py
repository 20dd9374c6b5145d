"""Avatars in the formats of other programs; asks what an avatar declares, never what it is."""
