import os
import threading

import numpy as np
import pytest
from PIL import Image

from skinlesion.data import cache
from skinlesion.data.cache import cached_arrays, default_cache_dir
from skinlesion.data.images import read_image, read_mask, resize_image, resize_mask
from skinlesion.data.layouts import find_samples
from skinlesion.errors import SkinlesionError


@pytest.fixture
def samples(tmp_path):
    random = np.random.default_rng(0)
    for folder in ("images", "masks"):
        (tmp_path / "data" / folder).mkdir(parents=True)
    for number in range(20):
        picture = random.integers(0, 256, (30, 40, 3), dtype=np.uint8)
        Image.fromarray(picture).save(tmp_path / "data" / "images" / f"{number:02d}.png")
        Image.fromarray(picture[..., 0] > 100).save(tmp_path / "data" / "masks" / f"{number:02d}.png")
    return find_samples(tmp_path / "data", "folder")


def test_entries_hold_every_sample_in_order(samples, tmp_path):
    images, masks = cached_arrays(samples, 16, tmp_path / "cache", mask_size=24)
    assert (images.shape, images.dtype) == ((20, 16, 16, 3), np.uint8)
    assert (masks.shape, masks.dtype) == ((20, 24, 24), bool)
    for row, sample in enumerate(samples):
        np.testing.assert_array_equal(images[row], resize_image(read_image(sample.image), (16, 16)))
        np.testing.assert_array_equal(masks[row], resize_mask(read_mask(sample.mask), (24, 24)))
    with pytest.raises(ValueError, match="read-only"):
        images[0] = 0


def test_files_are_decoded_once(samples, tmp_path, monkeypatch):
    first, _ = cached_arrays(samples, 16, tmp_path / "cache")
    monkeypatch.setattr(cache, "read_image", None)  # calling it would fail
    monkeypatch.setattr(cache, "read_mask", None)
    second, _ = cached_arrays(samples, 16, tmp_path / "cache")
    np.testing.assert_array_equal(first, second)
    assert len(list((tmp_path / "cache").iterdir())) == 2


def test_a_changed_file_or_size_makes_a_new_entry(samples, tmp_path):
    before, _ = cached_arrays(samples, 16, tmp_path / "cache")
    Image.new("RGB", (40, 30), "red").save(samples[3].image)
    after, _ = cached_arrays(samples, 16, tmp_path / "cache")
    assert (after[3] == [255, 0, 0]).all()
    np.testing.assert_array_equal(np.delete(before, 3, axis=0), np.delete(after, 3, axis=0))
    status = samples[4].mask.stat()
    Image.new("1", (40, 30), 1).save(samples[4].mask)
    os.utime(samples[4].mask, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    _, masks = cached_arrays(samples, 16, tmp_path / "cache")
    assert masks[4].all()
    assert cached_arrays(samples[:5], 8, tmp_path / "cache")[0].shape == (5, 8, 8, 3)


def test_a_bad_file_leaves_nothing_behind(samples, tmp_path):
    samples[7].image.write_bytes(samples[7].image.read_bytes()[:200])
    with pytest.raises(SkinlesionError, match=r"07\.png is damaged"):
        cached_arrays(samples, 16, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_mask_of_another_size_is_refused(samples, tmp_path):
    Image.new("1", (30, 40)).save(samples[2].mask)
    with pytest.raises(SkinlesionError, match=r"02\.png: the mask is 30 x 40 pixels but its image .* is 40 x 30"):
        cached_arrays(samples, 16, tmp_path / "cache")
    samples[5].mask.unlink()
    with pytest.raises(SkinlesionError, match=r"05\.png cannot be read"):
        cached_arrays(samples, 16, tmp_path / "cache")
    with pytest.raises(SkinlesionError, match="no images"):
        cached_arrays([], 16, tmp_path / "cache")


def test_a_damaged_entry_is_built_anew(samples, tmp_path):
    good = np.array(cached_arrays(samples, 16, tmp_path / "cache")[0])
    for entry in (tmp_path / "cache").iterdir():
        entry.write_bytes(entry.read_bytes()[:150])
    np.testing.assert_array_equal(cached_arrays(samples, 16, tmp_path / "cache")[0], good)


def test_a_folder_that_cannot_be_used_is_said_and_memory_used(samples, tmp_path):
    (tmp_path / "file").write_text("in the way")
    good = cached_arrays(samples, 16, tmp_path / "cache")
    with pytest.warns(RuntimeWarning, match=r"cannot be used .*kept in memory.*SKINLESION_CACHE"):
        images, masks = cached_arrays(samples, 16, tmp_path / "file" / "cache")
    np.testing.assert_array_equal(images, good[0])
    np.testing.assert_array_equal(masks, good[1])


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs Linux's always full device")
def test_a_full_disk_is_said_and_memory_used(samples, tmp_path, monkeypatch):
    real = cache.Path.open
    monkeypatch.setattr(
        cache.Path, "open", lambda path, mode="r": real(cache.Path("/dev/full") if mode == "xb" else path, "r+b", 0)
    )
    with pytest.warns(RuntimeWarning, match="No space left"):
        images, _ = cached_arrays(samples, 16, tmp_path / "cache")
    assert images.shape == (20, 16, 16, 3)
    assert list((tmp_path / "cache").iterdir()) == []


def test_several_builders_at_once_agree(samples, tmp_path):
    results = []
    build = threading.Thread
    threads = [build(target=lambda: results.append(cached_arrays(samples, 16, tmp_path / "cache"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4
    for images, masks in results[1:]:
        np.testing.assert_array_equal(images, results[0][0])
        np.testing.assert_array_equal(masks, results[0][1])
    assert len(list((tmp_path / "cache").iterdir())) == 2


def test_the_folder_can_be_chosen(monkeypatch, tmp_path):
    monkeypatch.setenv("SKINLESION_CACHE", str(tmp_path))
    assert default_cache_dir() == tmp_path
    monkeypatch.delenv("SKINLESION_CACHE")
    assert default_cache_dir().name == "skinlesion"
