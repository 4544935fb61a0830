"""Evaluation constants that the whole package shares."""

TRUTH_SIZE = 256  # side in pixels at which prediction and truth are compared, as the paper does
BOUNDARY_TOLERANCE = 2 / 256  # of the boundary score, as a share of the side: 2 pixels at 256 x 256
MAX_SIDE = 2048  # pixels of a network's input or of the truth: far beyond what fits into a laptop's memory in training
