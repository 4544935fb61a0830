"""Whether gates follow a change of the image: against the gates of other images, and shapes moved aside."""

import numpy as np
import pytest

from skinlesion import explain
from skinlesion.errors import SkinlesionError
from skinlesion.explain import SkipResponse


def test_gates_that_move_with_the_image_are_found_to_follow_and_others_are_not():
    """Known gates: a bump that moves with its image, and a bump that stays."""
    rng = np.random.default_rng(0)

    def gates(center: int) -> explain.SkipGates:
        bump = np.exp(-0.5 * ((np.arange(16) - center) / 1.5) ** 2)[:, None] * np.ones((1, 3))
        none = np.zeros((16, 16, 3), dtype=np.float32)
        return explain.SkipGates("S2", bump.astype(np.float32), np.full((16, 3), 0.5, np.float32), none, none, 8)

    change = explain.Shift(rows=32)
    centers = rng.integers(2, 11, size=19)
    others = [gates(int(center) + 4) for center in centers]
    before = gates(5)
    expected = change.gates(before.gate_h, before.gate_w, before.cell)
    moved = explain.following(SkipResponse(before, gates(9), *expected), others)
    stayed = explain.following(SkipResponse(before, before, *expected), others)
    assert moved.gain > 0
    assert moved.p_value <= (1 + (centers == 5).sum()) / 20
    assert stayed.gain < 0
    assert stayed.p_value > 0.2
    with pytest.raises(SkinlesionError, match="at least one other image"):
        explain.following(SkipResponse(before, before, *expected), [])


def test_a_shape_is_moved_aside_whole():
    mask = np.zeros((40, 60), dtype=bool)
    mask[3:15, 40:55] = True
    aside = explain.moved_aside(mask)
    assert aside.sum() == mask.sum()
    assert not (aside & mask).any()
    assert explain.moved_aside(np.ones((8, 8), dtype=bool)) is None
