"""What the default weights promise: masks on real images, warnings on pictures that aren't dermoscopy."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from skinlesion import Segmenter
from skinlesion.checkpoint import DEFAULT_WEIGHTS, available_weights, find_weights, read_card, tensors_hash
from skinlesion.data.samples import bundled_samples
from skinlesion.model_card import model_card

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    return Segmenter.from_pretrained(DEFAULT_WEIGHTS)


@pytest.mark.parametrize("name", available_weights())
def test_the_card_beside_the_weights_is_the_one_that_the_package_writes(name: str):
    path = find_weights(name)
    text = model_card(read_card(path), name=name, digest=tensors_hash(path))
    assert path.with_suffix(".md").read_text(encoding="utf-8") == text
    assert "--tta --" not in text


def landscape() -> np.ndarray:
    image = Image.new("RGB", (400, 300), (135, 206, 235))
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 180, 400, 300), fill=(60, 160, 60))
    draw.ellipse((300, 20, 350, 70), fill=(255, 220, 0))
    draw.polygon([(50, 180), (120, 60), (190, 180)], fill=(120, 110, 100))
    return np.asarray(image)


def text() -> np.ndarray:
    image = Image.new("RGB", (400, 300), (250, 250, 245))
    for row in range(18):
        ImageDraw.Draw(image).text(
            (10, 15 * row + 5), "There is no lesion in this page of text. " * 2, fill=(20, 20, 60)
        )
    return np.asarray(image)


def noise() -> np.ndarray:
    return RNG.integers(0, 256, (300, 400, 3)).astype(np.uint8)


def plain_skin() -> np.ndarray:
    skin = np.full((300, 400, 3), (210.0, 165.0, 140.0)) + RNG.normal(0, 6, (300, 400, 1))
    return skin.clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("picture", [landscape, text, noise, plain_skin])
def test_pictures_that_are_not_dermoscopy_are_flagged(segmenter: Segmenter, picture) -> None:
    found = segmenter.segment(picture())
    assert found.ood_score is not None
    assert found.ood_score > 0
    assert "This doesn't look like a dermoscopy image." in found.warnings


def test_real_images_are_segmented_without_a_warning(segmenter: Segmenter) -> None:
    real = [sample for sample in bundled_samples() if sample.kind == "real"]
    assert len(real) >= 5
    found = [segmenter.segment(sample.image_path) for sample in real]
    assert not [each.warnings for each in found if each.warnings]
    assert all(0.6 < each.confidence < 1 for each in found)


def test_the_default_is_calibrated_and_small(segmenter: Segmenter) -> None:
    assert segmenter.path is not None
    assert segmenter.path.stat().st_size < 10_000_000
    calibration = segmenter.card["calibration"]
    assert calibration["calibrated"] == pytest.approx(calibration["val_dice"], abs=1e-3)
    assert segmenter.temperature > 1
