"""Tracked datasets of peers, read into captures and tracks: the layouts of INSTA and of GaussianAvatars (VHAP)."""
