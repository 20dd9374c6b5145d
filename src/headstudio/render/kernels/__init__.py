"""Warp kernels, one source for CPU and CUDA. Imported inside functions only, so that Warp loads on first use."""
