import pickle

import numpy as np
import pytest

from skinlesion.data.images import normalize
from skinlesion.data.transforms import RECIPES, SkinTone, TrainingTransform, Window, source_size
from skinlesion.errors import SkinlesionError

RANDOM = np.random.default_rng(0)
IMAGE = RANDOM.integers(30, 200, (48, 48, 3), dtype=np.uint8)
MASK = np.hypot(*np.mgrid[-20:28, -24:24]) < 12


def draw(recipe: str, index: int = 0, epoch: int = 0, seed: int = 0, image=IMAGE, mask=MASK):
    return TrainingTransform(recipe, seed, 48)(image, mask, epoch=epoch, index=index)


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_draw_depends_on_seed_epoch_and_index_alone(recipe):
    transform = TrainingTransform(recipe, 5, 48)
    expected = {key: transform(IMAGE, MASK, epoch=key[0], index=key[1]) for key in [(0, 0), (0, 1), (3, 0), (3, 1)]}
    for other in (TrainingTransform(recipe, 5, 48), pickle.loads(pickle.dumps(transform))):
        for (epoch, index), (image, mask) in reversed(expected.items()):
            again = other(IMAGE, MASK, epoch=epoch, index=index)
            np.testing.assert_array_equal(again[0], image)
            np.testing.assert_array_equal(again[1], mask)


@pytest.mark.parametrize("recipe", ["paper", "strong"])
@pytest.mark.parametrize("changed", ["seed", "epoch", "index"])
def test_every_part_of_the_key_counts(recipe, changed):
    pictures = {draw(recipe, **{changed: value})[0].tobytes() for value in range(12)}
    assert len(pictures) > 6  # "paper" leaves an image as it is one time in eight


@pytest.mark.parametrize("recipe", RECIPES)
def test_types_and_inputs_are_kept(recipe):
    image, mask = IMAGE.copy(), MASK.copy()
    for index in range(10):
        new_image, new_mask = draw(recipe, index, image=image, mask=mask)
        assert (new_image.dtype, new_image.shape) == (np.uint8, image.shape)
        assert (new_mask.dtype, new_mask.shape) == (bool, mask.shape)
        assert set(np.unique(new_mask.view(np.uint8))) <= {0, 1}
    np.testing.assert_array_equal(image, IMAGE)
    np.testing.assert_array_equal(mask, MASK)


def test_none_changes_nothing():
    image, mask = draw("none")
    np.testing.assert_array_equal(image, IMAGE)
    np.testing.assert_array_equal(mask, MASK)


def test_the_two_flips_are_drawn_apart():
    """With one seed for each transform both flips would always fall together."""
    image = np.zeros((9, 9, 3), np.uint8)
    image[0, 0] = 255
    seen = set()
    for index in range(200):
        flipped, _ = draw("paper", index, image=image, mask=np.zeros((9, 9), bool))
        seen |= {tuple(place) for place in np.argwhere(flipped[..., 0] == 255)}
    assert {(0, 0), (0, 8), (8, 0), (8, 8)} <= seen


@pytest.mark.parametrize("recipe", ["paper", "strong"])
def test_image_and_mask_move_together(recipe):
    image = np.repeat(np.where(MASK, 250, 20)[..., None], 3, axis=2).astype(np.uint8)
    moved = 0
    for index in range(20):
        new_image, new_mask = draw(recipe, index, image=image)
        seen = new_image.mean(axis=2) > (int(new_image.min()) + int(new_image.max())) / 2
        union = (seen | new_mask).sum()
        assert (seen & new_mask).sum() > 0.85 * union
        moved += (new_mask != MASK).any()
    assert moved > 10


def test_angles_are_drawn_per_sample():
    """The harness drew one angle for a whole run (A31)."""
    bar = np.zeros((65, 65), bool)
    bar[32, 33:60] = True
    image = np.repeat(bar[..., None] * np.uint8(200), 3, axis=2)
    angles = set()
    for index in range(60):
        _, mask = draw("paper", index, image=image, mask=bar)
        rows, columns = np.nonzero(mask)
        angles.add(round(np.degrees(np.arctan2(rows.mean() - 32, columns.mean() - 32)) / 5))
    assert len(angles) > 15


def test_a_turn_may_have_any_angle(monkeypatch):
    """Without the flips, which together are half a turn, a quarter of the circle's angles or more would be missing."""
    turns = [(name, options) for name, options in RECIPES["paper"] if name == "Rotate"]
    monkeypatch.setitem(RECIPES, "paper", turns)
    bar = np.zeros((65, 65), bool)
    bar[32, 33:60] = True
    image = np.repeat(bar[..., None] * np.uint8(200), 3, axis=2)
    angles = []
    for index in range(120):
        _, mask = draw("paper", index, image=image, mask=bar)
        rows, columns = np.nonzero(mask)
        angles.append(np.degrees(np.arctan2(rows.mean() - 32, columns.mean() - 32)))
    turned = np.array([angle for angle in angles if abs(angle) > 1])
    counts, _ = np.histogram(turned, bins=[-180, -90, 0, 90, 180])
    assert len(turned) > 40
    assert counts.min() > 6, counts


def test_corners_of_the_paper_recipe_are_the_darkest_value():
    """So min-max normalization gives what filling zeros after it would: the rest of the picture keeps its values."""
    image = np.full((40, 40, 3), 120, np.uint8)
    image[15:25, 15:20] = 80
    image[15:25, 20:25] = 255
    turned = 0
    for index in range(20):
        values = normalize(draw("paper", index, image=image, mask=np.zeros((40, 40), bool))[0])
        skin = (120 - 80) / (255 - 80)
        assert np.isclose(values[2, 20], skin, atol=0.01).all()
        if (values[0, 0] == 0).all():
            turned += 1
    assert turned > 4


def test_strong_leaves_no_empty_corners_and_changes_color():
    image = np.full((40, 40, 3), 120, np.uint8)
    shifts = set()
    for index in range(20):
        new_image, _ = draw("strong", index, image=image, mask=np.ones((40, 40), bool))
        assert (new_image == new_image[0, 0]).all()
        shifts.add(tuple(new_image[0, 0].astype(int) - 120))
    assert len(shifts) == 20
    assert any(len(set(shift)) == 3 for shift in shifts)


def test_an_unknown_recipe_lists_the_valid_ones():
    with pytest.raises(SkinlesionError, match=r"'heavy'.*none, paper, strong"):
        TrainingTransform("heavy")


def windows(mask, n=200, size=32):
    """The cuts of a picture that shows its own mask."""
    image = np.repeat(np.where(mask, 255, 0).astype(np.uint8)[..., None], 3, axis=2)
    return [Window()(image, mask, size, np.random.default_rng(seed)) for seed in range(n)]


@pytest.mark.parametrize("shape", [(60, 60), (40, 90)])
def test_a_window_keeps_image_and_mask_together_and_the_lesion_in_view(shape):
    mask = np.hypot(*np.ogrid[-10 : shape[0] - 10, -30 : shape[1] - 30]) < 8
    for image, cut in windows(mask):
        assert image.shape == (32, 32, 3)
        assert cut.shape == (32, 32)
        assert ((image[..., 0] > 127) == cut).mean() > 0.9
        assert cut.any()


def test_a_window_of_the_whole_image_is_the_image():
    """Not shifted by half a pixel either."""
    image, mask = Window(zoom=(1, 1), aspect=1)(IMAGE, MASK, 48, np.random.default_rng(0))
    np.testing.assert_array_equal(image, IMAGE)
    np.testing.assert_array_equal(mask, MASK)


def test_windows_range_over_zoom_and_aspect():
    mask = np.zeros((128, 128), bool)
    mask[56:72, 56:72] = True
    sides = np.array([(cut.any(1).sum(), cut.any(0).sum()) for _, cut in windows(mask, size=128)]) / 16
    zoom, aspect = np.sqrt(sides.prod(1)), sides[:, 0] / sides[:, 1]
    assert 0.75 < zoom.min() < 0.95
    assert 1.9 < zoom.max() < 2.35
    assert aspect.min() < 0.85
    assert 1.2 < aspect.max() < 1.45


def test_a_window_does_not_cut_most_of_a_large_lesion_away():
    mask = np.zeros((100, 100), bool)
    mask[10:90, 10:90] = True
    shares = [cut.mean() for _, cut in windows(mask)]
    assert min(shares) > 0.35  # nothing but skin is never shown
    assert np.mean(np.array(shares) < 1) > 0.9  # and the border nearly always


def test_a_window_of_an_image_without_lesion_stays_near_the_image():
    assert all(not cut.any() for _, cut in windows(np.zeros((50, 70), bool)))


def test_zooming_in_starts_from_more_pixels():
    assert source_size("zoom", 100) == 160
    assert source_size("strong", 100) == 100


def test_skin_gets_darker_and_the_lesion_stays_darker_still():
    mask = np.hypot(*np.ogrid[-32:32, -32:32]) < 15
    image = np.where(mask[..., None], [110, 70, 50], [230, 190, 170]).astype(np.uint8)
    recolored = [SkinTone(probability=1)(image, mask, np.random.default_rng(seed)) for seed in range(50)]
    skin = np.array([each[:4, :4].mean((0, 1)) for each in recolored])  # (50, 3)
    lesion = np.array([each[30:34, 30:34].mean((0, 1)) for each in recolored])
    assert (skin <= [230, 190, 170]).all()
    assert skin[:, 1].min() < 130
    assert (lesion.mean(1) < skin.mean(1)).all()
    red, blue = skin[:, 0] / 230, skin[:, 2] / 170
    assert (blue <= red + 0.01).all()  # melanin takes blue before red


@pytest.mark.parametrize("mask", [np.zeros((8, 8), bool), np.ones((8, 8), bool)])
def test_nothing_is_recolored_where_lesion_or_skin_is_missing(mask):
    image = RANDOM.integers(0, 255, (8, 8, 3), dtype=np.uint8)
    np.testing.assert_array_equal(SkinTone(probability=1)(image, mask, np.random.default_rng(0)), image)
