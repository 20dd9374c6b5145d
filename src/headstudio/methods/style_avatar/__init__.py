"""Paper 2: "StyleAvatar: Real-time Photo-realistic Portrait Avatar from a Single Video" (Wang et al. 2023).

Sizes and windows so far; the method itself is not here yet, and nothing is registered.
"""
