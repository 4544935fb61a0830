"""Calibrated confidence and the out-of-distribution score: fitted on files, kept in the card; masks do not change."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage

from skinlesion import Segmenter, SkinlesionError, create_model
from skinlesion.calibration import fit
from skinlesion.checkpoint import load_checkpoint, save_checkpoint, tensors_hash
from skinlesion.cli import main
from skinlesion.data.layouts import Sample, find_samples
from skinlesion.data.outliers import outlier, plain_skin
from skinlesion.data.synthetic import write_dataset
from skinlesion.domain import Domain, domain_points, fit_domain
from skinlesion.probability import calibrated

CARD = {"preprocessing": {"size": [64, 64], "normalize": "minmax"}}


class Darkness(torch.nn.Module):
    """Lesion where the first channel is dark, and far too sure of it."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return 60 * (0.5 - image[:, :1])


@pytest.fixture(scope="module")
def lesions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("data") / "lesions", n=40, seed=3, size=64)


@pytest.fixture(scope="module")
def calibrated_file(tmp_path_factory: pytest.TempPathFactory, lesions: Path) -> tuple[Path, Path]:
    """`small`, at 64 x 64 for speed, before and after `skinlesion calibrate` on drawn lesions."""
    folder = tmp_path_factory.mktemp("weights")
    model, _ = load_checkpoint("small")
    save_checkpoint(folder / "before.safetensors", model, CARD)
    data = ["--data", "folder", "--root", str(lesions), "--split", "random"]
    command = ["calibrate", str(folder / "before.safetensors"), *data, "--out", str(folder / "after.safetensors")]
    assert main(command) == 0
    return folder / "before.safetensors", folder / "after.safetensors"


def test_calibration_moves_no_weight_and_no_boundary(calibrated_file: tuple[Path, Path], lesions: Path) -> None:
    before, after = (Segmenter.from_pretrained(path) for path in calibrated_file)
    assert tensors_hash(calibrated_file[0]) == tensors_hash(calibrated_file[1])
    assert after.temperature != 1
    found = 0
    for sample in find_samples(lesions, "folder")[:10]:
        first, second = (each.segment(sample.image, clean=False) for each in (before, after))
        found += first.mask.any()
        np.testing.assert_array_equal(first.mask, second.mask)
        assert not np.allclose(first.probability, second.probability)
    assert found > 5


def test_the_split_must_be_that_of_the_training(tmp_path: Path, lesions: Path, capsys: pytest.CaptureFixture) -> None:
    data = ["--data", "isic2017", "--root", str(lesions), "--split", "random"]
    assert main(["calibrate", "small", *data, "--out", str(tmp_path / "a.safetensors")]) == 2
    data = ["--data", "folder", "--root", str(lesions), "--split", "random"]
    assert main(["calibrate", "small", *data, "--out", str(tmp_path / "a.safetensors")]) == 2
    assert "another split" in capsys.readouterr().err
    assert not (tmp_path / "a.safetensors").exists()


def test_the_card_says_how_it_was_found(calibrated_file: tuple[Path, Path]) -> None:
    card = load_checkpoint(calibrated_file[1])[1]
    found = card["calibration"]
    assert found["calibrated"] == pytest.approx(found["val_dice"], abs=1e-3)
    assert card["domain"]["false_alarms"] <= 0.02


def test_what_is_no_dermoscopy_is_said_to_be_none(calibrated_file: tuple[Path, Path], lesions: Path) -> None:
    segmenter = Segmenter.from_pretrained(calibrated_file[1])
    strange = segmenter.segment_batch([outlier(seed) for seed in range(10_000, 10_060)])
    known = segmenter.segment_batch([sample.image for sample in find_samples(lesions, "folder")])
    sentence = "This doesn't look like a dermoscopy image."
    assert np.mean([sentence in each.warnings for each in strange]) >= 0.95
    assert np.mean([sentence in each.warnings for each in known]) <= 0.1


def test_weights_without_a_score_claim_nothing(calibrated_file: tuple[Path, Path]) -> None:
    found = Segmenter.from_pretrained(calibrated_file[0]).segment(outlier(0))
    assert found.ood_score is None
    assert "This doesn't look like a dermoscopy image." not in found.warnings


def test_an_empty_mask_is_said_to_be_empty() -> None:
    found = Segmenter(Darkness(), CARD).segment(np.full((20, 20, 3), 200, np.uint8), threshold=0.999999)
    assert ("No lesion found." in found.warnings) == (not found.mask.any())


@pytest.fixture
def disks(tmp_path: Path) -> list[Sample]:
    """Dark disks with a soft border, whose truth is a little larger or smaller than `Darkness` finds."""
    samples = []
    for number in range(12):
        distance = np.hypot(*np.ogrid[-32:32, -32:32]) - 12 - number
        gray = 50 + 150 / (1 + np.exp(-distance / 2))
        truth = distance < (-3, 3)[number % 2]
        Image.fromarray(gray.astype(np.uint8)).save(tmp_path / f"{number}.png")
        Image.fromarray(truth).save(tmp_path / f"{number}_mask.png")
        samples.append(Sample(str(number), tmp_path / f"{number}.png", tmp_path / f"{number}_mask.png"))
    return samples


def test_the_temperature_makes_confidence_equal_dice(disks: list[Sample]) -> None:
    found = fit(Segmenter(Darkness(), CARD), disks)
    assert found.before > found.dice + 0.02  # it was too sure
    assert found.temperature > 1
    assert found.after == pytest.approx(found.dice, abs=1e-3)
    again = Segmenter(Darkness(), {**CARD, "temperature": found.temperature})
    confidence = [again.segment(sample.image).confidence for sample in disks]
    assert np.mean(confidence) == pytest.approx(found.dice, abs=0.02)  # at other sizes than it was fitted at


def test_masks_are_cleaned_by_default_where_the_validation_part_says_so(disks: list[Sample]) -> None:
    plain = fit(Segmenter(Darkness(), CARD), disks)
    assert plain.iou[0] == plain.iou[1]  # one region without holes each
    assert not plain.clean
    for number, sample in enumerate(disks):  # a second dark spot that is no lesion
        image = np.asarray(Image.open(sample.image)).copy()
        image[:5, : 5 + number] = 0
        Image.fromarray(image).save(sample.image)
    spotted = fit(Segmenter(Darkness(), CARD), disks)
    assert spotted.iou[0] < spotted.iou[1]
    assert spotted.clean
    card = {**CARD, "clean": spotted.clean}
    assert ndimage.label(Segmenter(Darkness(), card).segment(disks[0].image).mask)[1] == 1
    assert ndimage.label(Segmenter(Darkness(), card).segment(disks[0].image, clean=False).mask)[1] == 2


def test_temperature_scaling_is_its_formula_and_crosses_no_half() -> None:
    p = torch.linspace(0, 1, 1001, dtype=torch.float64)
    expected = p**0.5 / (p**0.5 + (1 - p) ** 0.5)  # dividing the logit by 2
    torch.testing.assert_close(calibrated(p, 2.0), expected, rtol=1e-9, atol=1e-12)
    near = torch.tensor([0.5], dtype=torch.float32)
    below = torch.nextafter(near, torch.zeros(1))
    for temperature in (0.3, 1.0, 1.7, 20.0):
        assert (calibrated(torch.cat([below, near]), temperature) >= 0.5).tolist() == [False, True]


def test_weights_that_find_nothing_cannot_be_calibrated(lesions: Path) -> None:
    class Nothing(torch.nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return torch.full_like(image[:, :1], -9.0)

    with pytest.raises(SkinlesionError, match="temperature"):
        fit(Segmenter(Nothing(), CARD), find_samples(lesions, "folder"))


def test_the_discriminant_encloses_what_it_was_fitted_on() -> None:
    """Outliers on all sides of a cloud: a linear score without squares could not tell them."""
    rng = np.random.default_rng(0)
    inside, validation = rng.normal(size=(500, 2)), rng.normal(size=(300, 2))
    angle = rng.uniform(0, 2 * np.pi, 500)
    outside = 6 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    domain = fit_domain(("a",), inside, outside, validation, false_alarms=0.05)
    assert domain.false_alarms <= 0.05
    assert (domain.score(rng.normal(size=(500, 2))) > 0).mean() < 0.1
    assert (domain.score(outside) > 0).mean() > 0.95
    again = Domain.from_card(json.loads(json.dumps(domain.to_card())))
    np.testing.assert_allclose(again.score(outside), domain.score(outside), rtol=1e-3, atol=1e-3)


def test_networks_without_three_encoder_stages_are_refused() -> None:
    with pytest.raises(SkinlesionError, match="E1 to E3"):
        domain_points(create_model("unet", dim=4))


INSIDE = np.random.default_rng(0).normal(size=(9, 2))
GOOD = fit_domain(("E1.1.output",), INSIDE, np.ones((3, 2)), np.ones((3, 2))).to_card()


@pytest.mark.parametrize(
    "change",
    [
        {"mean": [0.0]},
        {"mean": []},
        {"scale": [1.0, 0.0]},
        {"weights": "wide"},
        {"bias": None},
        {"threshold": float("nan")},
        {"points": 3},
        {"mean": [10**400, 1]},
    ],
)
def test_a_card_with_a_broken_domain_is_refused(tmp_path: Path, change: dict) -> None:
    model = create_model("tiny", dim=16, depths=(1, 1), decoder_depths=(1, 1))
    save_checkpoint(tmp_path / "good.safetensors", model, {**CARD, "domain": GOOD})
    with pytest.raises(SkinlesionError, match="domain"):
        save_checkpoint(tmp_path / "bad.safetensors", model, {**CARD, "domain": {**GOOD, **change}})


@pytest.mark.parametrize("temperature", [0.0, -1.0, 1e9, "hot", True, None])
def test_a_card_with_a_broken_temperature_is_refused(tmp_path: Path, temperature: object) -> None:
    model = create_model("tiny", dim=16, depths=(1, 1), decoder_depths=(1, 1))
    with pytest.raises(SkinlesionError, match="temperature"):
        save_checkpoint(tmp_path / "a.safetensors", model, {**CARD, "temperature": temperature})


def test_outliers_are_many_kinds_of_image_and_always_the_same() -> None:
    images = [outlier(seed) for seed in range(12)]
    assert all(image.dtype == np.uint8 and image.shape == (192, 192, 3) for image in images)
    assert len({image.tobytes() for image in images}) == 12
    np.testing.assert_array_equal(images[5], outlier(5))


def test_plain_skin_is_a_corner_without_lesion_or_shadow() -> None:
    image = np.full((50, 100, 3), 180, np.uint8)
    mask = np.zeros((50, 100), bool)
    mask[:25, 10:] = True
    image[40:, :20] = 10
    corner = plain_skin(image, mask)
    assert corner is not None
    assert corner.shape == (20, 40, 3)
    assert corner.min() == 180
    assert plain_skin(image, np.ones_like(mask)) is None


def test_a_sample_without_mask_cannot_calibrate(lesions: Path) -> None:
    image = find_samples(lesions, "folder")[0].image
    with pytest.raises(SkinlesionError, match="mask"):
        fit(Segmenter(Darkness(), CARD), [Sample("a", image, None)])
