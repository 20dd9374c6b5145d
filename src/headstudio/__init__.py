"""From a phone video to a drivable, photorealistic head that opens in any 3D engine."""

__version__ = "0.1.0"
