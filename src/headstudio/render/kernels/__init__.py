"""Warp kernels, one source for CPU and CUDA. Imported inside functions only, so that Warp loads on first use.

What stands in these modules is Warp's own language: its compiler reads the annotations, and `int(0)` declares a
variable that changes in a loop. Hence the switched-off checks at the top of each file.
"""
