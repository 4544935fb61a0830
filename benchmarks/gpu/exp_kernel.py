"""A Triton kernel that computes little but exponentials: the ceiling of any scan, which needs one a state update."""

import triton
import triton.language as tl

BLOCK = 1024


@triton.jit
def exponentials(source, target, repeats, BLOCK: tl.constexpr = 1024):
    """target = exp2 applied `repeats` times to -source; two products keep the compiler from folding anything."""
    place = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(source + place)
    for _ in range(repeats):
        x = tl.exp2(-x)
    tl.store(target + place, x)
