"""Where the head is in every frame: landmark solve, photometric refinement, smoothing, trust and overlays."""
