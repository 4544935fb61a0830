import json

import numpy as np
import pytest

from skinlesion.data.images import read_image, read_mask
from skinlesion.data.samples import FOLDER, RULE, bundled_samples, choose_real
from skinlesion.data.splits import packaged_manifest
from skinlesion.data.synthetic import synthesize
from skinlesion.errors import SkinlesionError


def test_every_sample_opens_and_has_a_lesion():
    samples = bundled_samples()
    assert [sample.kind for sample in samples] == ["synthetic"] * 12 + ["real"] * 8
    assert len({sample.id for sample in samples}) == len({sample.title for sample in samples}) == 20
    for sample in samples:
        image, mask = read_image(sample.image_path), read_mask(sample.mask_path)
        assert image.shape == (256, 256, 3)
        assert mask.shape == (256, 256)
        assert 0.005 < mask.mean() < 0.9
        assert sample.note


def test_the_folder_stays_small_and_holds_nothing_else():
    files = {path.name: path.stat().st_size for path in FOLDER.iterdir()}
    listed = {path.name for sample in bundled_samples() for path in (sample.image_path, sample.mask_path)}
    assert set(files) == listed | {"samples.json", "NOTICE"}
    assert sum(files.values()) < 600_000


def test_synthetic_samples_are_what_their_seed_draws():
    """A change of the generator must come with regenerated samples."""
    entries = json.loads((FOLDER / "samples.json").read_text("utf-8"))["samples"]
    for entry in [entry for entry in entries if entry["kind"] == "synthetic"][::4]:
        lesion = synthesize(entry["seed"], 256)
        assert np.mean(lesion.mask != read_mask(FOLDER / entry["mask"])) < 0.001  # rounding may differ elsewhere
        assert np.abs(read_image(FOLDER / entry["image"]).astype(int) - lesion.image).mean() < 6
        assert entry["attributes"]["pattern"] == lesion.attributes["pattern"]


def test_real_samples_are_test_images_with_source_and_rule():
    content = json.loads((FOLDER / "samples.json").read_text("utf-8"))
    real = [entry for entry in content["samples"] if entry["kind"] == "real"]
    assert {entry["id"] for entry in real} <= set(packaged_manifest("isic2017-paper").parts["test"])
    assert {entry["diagnosis"] for entry in real} == {"melanoma", "nevus", "seborrheic keratosis"}
    assert content["sources"]["real"]["rule"] == RULE
    notice = (FOLDER / "NOTICE").read_text("utf-8")
    assert "1710.05006" in notice
    assert "as stated by the challenge" in notice
    for entry in real:
        assert entry["lesion_fraction"] == pytest.approx(read_mask(FOLDER / entry["mask"]).mean(), abs=0.001)


def test_choosing_needs_the_data(tmp_path):
    with pytest.raises(SkinlesionError, match="isic2017"):
        choose_real(tmp_path)
