import threading
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor, nn

from skinlesion import Segmenter, SkinlesionError
from skinlesion.checkpoint import load_checkpoint
from skinlesion.data.images import normalize, resize_image
from skinlesion.device import choose_device
from skinlesion.errors import MachineError
from skinlesion.probability import resize_probability
from skinlesion.scan import choose_engine, choose_fitting_device

SIZE = (24, 32)
CARD = {"preprocessing": {"size": list(SIZE), "normalize": "minmax"}, "threshold": 0.5}


class Redness(nn.Module):
    """A model with a known answer: the first channel as a logit, with `lean` added in the left half."""

    def __init__(self, lean: float = 0.0) -> None:
        super().__init__()
        self.lean = lean

    def forward(self, image: Tensor) -> Tensor:
        logits = 8 * image[:, :1] - 4  # (B, 1, H, W)
        logits[..., : logits.shape[-1] // 2] += self.lean
        return logits


@pytest.fixture
def segmenter(small_checkpoint: Path) -> Segmenter:
    return Segmenter.from_pretrained(small_checkpoint)


def test_every_way_to_give_an_image_gives_the_same(segmenter: Segmenter, photo: np.ndarray, tmp_path: Path) -> None:
    buffer = BytesIO()
    Image.fromarray(photo).save(buffer, "PNG")
    (tmp_path / "photo.png").write_bytes(buffer.getvalue())
    expected = segmenter.segment(photo).probability
    ways = (tmp_path / "photo.png", str(tmp_path / "photo.png"), buffer.getvalue(), Image.fromarray(photo))
    for way in ways:
        assert np.array_equal(segmenter.segment(way).probability, expected)


def test_the_result_has_the_size_of_the_image_and_follows_its_definitions(photo: np.ndarray) -> None:
    result = Segmenter(Redness(), CARD).segment(photo, threshold=0.7)
    assert result.probability.shape == result.mask.shape == photo.shape[:2]
    assert result.probability.dtype == np.float32
    assert np.array_equal(result.mask, result.probability >= 0.7)
    assert np.array_equal(result.image, photo)
    assert result.threshold == 0.7
    assert result.area == result.mask.sum()
    assert result.area_fraction == pytest.approx(result.mask.mean())
    p, m = result.probability.astype(float), result.mask
    assert result.confidence == pytest.approx(2 * (p * m).sum() / (p.sum() + m.sum()))
    assert result.spread is None
    assert 0 < result.seconds < 60


def test_preprocessing_is_the_cards(photo: np.ndarray) -> None:
    seen: list[Tensor] = []

    class Keep(Redness):
        def forward(self, image: Tensor) -> Tensor:
            seen.append(image)
            return super().forward(image)

    Segmenter(Keep(), {**CARD, "preprocessing": {"size": [24, 32], "normalize": "minmax255"}}).segment(photo)
    expected = normalize(resize_image(photo, SIZE), "minmax255").transpose(2, 0, 1)[None]
    assert np.array_equal(seen[0].numpy(), expected)


def test_the_confidence_is_zero_without_lesion_and_one_when_certain(photo: np.ndarray) -> None:
    class Constant(nn.Module):
        def __init__(self, logit: float) -> None:
            super().__init__()
            self.logit = logit

        def forward(self, image: Tensor) -> Tensor:
            return torch.full_like(image[:, :1], self.logit)

    assert Segmenter(Constant(-30), CARD).segment(photo).confidence == 0
    assert Segmenter(Constant(30), CARD).segment(photo).confidence == pytest.approx(1)


def test_a_tie_with_the_threshold_counts_as_lesion(photo: np.ndarray) -> None:
    class Half(nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            return torch.zeros_like(image[:, :1])

    assert Segmenter(Half(), CARD).segment(photo).mask.all()


def test_the_threshold_is_the_cards_or_one_half(photo: np.ndarray) -> None:
    card = {name: value for name, value in CARD.items() if name != "threshold"}
    for own, expected in ((card, 0.5), ({**card, "threshold": 0.3}, 0.3)):
        result = Segmenter(Redness(), own).segment(photo)
        assert result.threshold == expected
        assert np.array_equal(result.mask, result.probability >= expected)


@pytest.mark.parametrize("tta", [True, "flips", "dihedral"])
def test_augmented_prediction_turns_with_the_image(photo: np.ndarray, tta: bool | str) -> None:
    """Averaged over a group of symmetries, a model that leans to one side no longer does."""
    segmenter = Segmenter(Redness(lean=3.0), {**CARD, "preprocessing": {"size": [24, 24], "normalize": "minmax"}})
    square = np.ascontiguousarray(photo[:, :60])
    plain, flipped = segmenter.segment(square), segmenter.segment(square[:, ::-1].copy())
    assert not np.allclose(plain.probability, flipped.probability[:, ::-1], atol=0.05)
    found = segmenter.segment(square, tta=tta)  # type: ignore[arg-type]
    symmetries = {"flip": lambda x: x[:, ::-1], "upside down": lambda x: x[::-1]}
    if tta == "dihedral":
        symmetries["transposed"] = lambda x: x.swapaxes(0, 1)
    for name, symmetry in symmetries.items():
        other = segmenter.segment(np.ascontiguousarray(symmetry(square)), tta=tta)  # type: ignore[arg-type]
        assert np.allclose(symmetry(found.probability), other.probability, atol=0.01), name


def test_spread_is_the_deviation_over_the_views(photo: np.ndarray) -> None:
    quiet = Segmenter(Redness(), CARD).segment(photo, tta=True).spread
    assert quiet is not None
    assert quiet.shape == photo.shape[:2]
    assert quiet.max() < 1e-6  # a model without position gives the same in every view
    leaning = Segmenter(Redness(lean=3.0), CARD)
    resized = resize_image(photo, SIZE)
    x = normalize(resized)[..., 0] * 8 - 4
    left = np.arange(SIZE[1]) < SIZE[1] // 2
    views = [1 / (1 + np.exp(-(x + 3.0 * side))) for side in (left, ~left)]
    spread = leaning.segment(resized, tta=True).spread
    assert spread is not None
    assert np.allclose(spread, np.std(views, axis=0), atol=1e-5)


def test_a_batch_gives_what_each_image_gives_alone(segmenter: Segmenter, photo: np.ndarray) -> None:
    images = [photo, photo[:31, :17].copy(), photo[::-1].copy()]
    together = segmenter.segment_batch(images, tta=True)
    assert all(found.probability.std() > 1e-3 for found in together)
    for image, found in zip(images, together, strict=True):
        assert found.probability.shape == image.shape[:2]
        assert np.allclose(found.probability, segmenter.segment(image, tta=True).probability, atol=1e-5)
    assert segmenter.segment_batch([]) == []


def test_a_batch_keeps_its_order(segmenter: Segmenter, photo: np.ndarray) -> None:
    images = [photo, 255 - photo, photo[:, ::-1].copy()]
    alone = torch.cat([segmenter.prepare([image]) for image in images])
    assert all((alone[i] - alone[j]).abs().max() > 0.5 for i, j in ((0, 1), (0, 2), (1, 2)))
    assert torch.equal(segmenter.prepare(images), alone)


def test_every_view_is_turned_back(photo: np.ndarray) -> None:
    """A model without position gives the same in each of the eight views, once they are turned back."""
    segmenter = Segmenter(Redness(), {**CARD, "preprocessing": {"size": [24, 24], "normalize": "minmax"}})
    square = np.ascontiguousarray(photo[:, :60])
    square[5:15, 20:50] = 30  # no symmetry is left
    plain, found = segmenter.segment(square), segmenter.segment(square, tta="dihedral")
    assert plain.probability.std() > 0.1
    assert found.spread is not None
    assert found.spread.max() < 1e-6
    assert np.allclose(found.probability, plain.probability, atol=1e-6)


@settings(max_examples=25)
@given(st.integers(1, 70), st.integers(1, 70))
def test_any_size_works(small_checkpoint: Path, height: int, width: int) -> None:
    segmenter = Segmenter.from_pretrained(small_checkpoint)
    image = np.random.default_rng(height * 100 + width).integers(0, 256, (height, width, 3), dtype=np.uint8)
    probability = segmenter.segment(image).probability
    assert probability.shape == (height, width)
    assert probability.min() >= 0
    assert probability.max() <= 1


def test_threads_share_a_segmenter(segmenter: Segmenter) -> None:
    random = np.random.default_rng(0)
    images = [random.integers(0, 256, (20 + i, 30, 3), dtype=np.uint8) for i in range(6)]
    expected = [segmenter.segment(image).probability for image in images]
    state = {name: value.clone() for name, value in segmenter.model.state_dict().items()}
    found: dict[tuple[int, int], np.ndarray] = {}

    def work(worker: int) -> None:
        for i, image in enumerate(images):
            found[worker, i] = segmenter.segment(image, tta=worker % 2 == 1).probability

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4 * len(images)
    for (worker, i), probability in found.items():
        if worker % 2 == 0:
            assert np.allclose(probability, expected[i], atol=1e-6)
    assert all(torch.equal(state[name], value) for name, value in segmenter.model.state_dict().items())
    assert not segmenter.model.training


def test_resizing_keeps_the_range_and_a_constant() -> None:
    ones = resize_probability(torch.ones(1, 1, 37, 41), (13, 97))
    assert ones.shape == (1, 1, 13, 97)
    assert torch.allclose(ones, torch.ones(()))
    assert ones.max() <= 1
    ramp = torch.linspace(0, 1, 8).expand(1, 1, 8, 8)
    wide = resize_probability(ramp, (8, 64))[0, 0, 0]
    assert bool((wide.diff() >= 0).all())
    checkered = (torch.arange(64) % 2).float().expand(1, 1, 64, 64)
    assert resize_probability(checkered, (16, 16))[0, 0, 8, 8] == pytest.approx(0.5, abs=0.01)  # averaged, not picked


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 4, 3), dtype=np.float32),
        np.zeros((4, 4), dtype=np.uint8),
        np.zeros((4, 4, 4), dtype=np.uint8),
        np.zeros((0, 4, 3), dtype=np.uint8),
    ],
)
def test_an_array_that_is_no_rgb_image_is_refused(segmenter: Segmenter, image: np.ndarray) -> None:
    with pytest.raises(SkinlesionError, match=r"uint8 RGB image \(H, W, 3\)"):
        segmenter.segment(image)


def test_options_out_of_range_are_refused(segmenter: Segmenter, photo: np.ndarray, small_checkpoint: Path) -> None:
    for threshold in (0.0, 1.0, -1.0, float("nan")):
        with pytest.raises(SkinlesionError, match="threshold"):
            segmenter.segment(photo, threshold=threshold)
    with pytest.raises(SkinlesionError, match="dihedral"):
        segmenter.segment(photo, tta="rotations")  # type: ignore[arg-type]
    with pytest.raises(SkinlesionError, match="must be auto, cpu, cuda, cuda:N or mps; got 'abacus'"):
        Segmenter.from_pretrained(small_checkpoint, device="abacus")
    with pytest.raises(SkinlesionError, match="Unknown scan engine 'abacus'"):
        Segmenter.from_pretrained(small_checkpoint, engine="abacus")


def test_a_model_that_gives_nan_is_not_trusted(photo: np.ndarray) -> None:
    class Broken(nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            return image[:, :1] * float("nan")

    with pytest.raises(SkinlesionError, match="not finite"):
        Segmenter(Broken(), CARD).segment(photo)


def test_engines_agree(small_checkpoint: Path, photo: np.ndarray) -> None:
    fast, slow = (Segmenter.from_pretrained(small_checkpoint, engine=engine) for engine in ("auto", "reference"))
    assert (fast.engine, slow.engine) == ("cpu", "reference")
    assert fast.segment(photo).probability.std() > 1e-3
    assert np.allclose(fast.segment(photo).probability, slow.segment(photo).probability, atol=1e-4)


def test_a_batch_is_any_series_of_images_but_not_one_image(
    segmenter: Segmenter, photo: np.ndarray, tmp_path: Path
) -> None:
    stack = np.stack([photo, photo[::-1]])
    expected = [segmenter.segment(each).mask for each in stack]
    tensor = torch.from_numpy(stack).permute(0, 3, 1, 2)
    for images in (stack, tensor, iter(stack), tuple(stack)):
        for found, mask in zip(segmenter.segment_batch(images), expected, strict=True):
            np.testing.assert_array_equal(found.mask, mask)
    assert segmenter.segment_batch(stack[:0]) == segmenter.segment_batch(()) == []
    for one in ("photo.jpg", tmp_path / "photo.jpg", b"x", Image.fromarray(photo)):
        with pytest.raises(SkinlesionError, match="takes a list of images; for a single image, use segment"):
            segmenter.segment_batch(one)  # type: ignore[arg-type]


@pytest.mark.parametrize("options", [{"clean": "off"}, {"clean": "auto"}, {"threshold": "0.5"}])
def test_words_of_the_command_line_are_no_values_here(segmenter: Segmenter, photo: np.ndarray, options: dict) -> None:
    with pytest.raises(SkinlesionError, match=r"must be (True, False|a number)"):
        segmenter.segment(photo, **options)


def test_auto_takes_a_gpu_only_if_the_engine_runs_there(
    small_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is no GPU here; torch is made to report one, which then fails like a card without kernels."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert choose_device("auto") == torch.device("cuda")
    assert Segmenter.from_pretrained(small_checkpoint, device="auto", engine="cpu").device == torch.device("cpu")
    with pytest.warns(UserWarning, match="The GPU isn't used: "):
        assert Segmenter.from_pretrained(small_checkpoint, device="auto").device == torch.device("cpu")
    with pytest.raises(SkinlesionError, match="does not run on device 'cuda'"):
        choose_engine("cpu", choose_device("auto"))
    for wrong in ("cuda:1", torch.device("cuda", 1)):
        with pytest.raises(SkinlesionError, match="has no device cuda:1: PyTorch finds only 1 CUDA GPU"):
            choose_device(wrong)


@pytest.mark.parametrize("device", ["cuda:00", "cuda:256", "cuda:-1", "CPU", "cpu:0", "", 0, None])
def test_what_is_no_device_is_said_to_be_none(device: object) -> None:
    with pytest.raises(SkinlesionError, match="must be auto, cpu, cuda, cuda:N or mps; got"):
        choose_device(device)  # type: ignore[arg-type]


@pytest.mark.parametrize("method", ["to", "forward"])
def test_a_full_gpu_is_one_sentence(
    small_checkpoint: Path, photo, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    def full(*args: object, **options: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    model, card = load_checkpoint(small_checkpoint)
    monkeypatch.setattr(model, method, full)
    with pytest.raises(MachineError, match=r"^Out of memory: close other programs, or process fewer or smaller images"):
        Segmenter(model, card).segment(photo)


def test_a_gpu_that_cannot_be_used_is_one_sentence(small_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: object, **options: object) -> None:
        raise RuntimeError("CUDA error: no kernel image is available\nCompile with TORCH_USE_CUDA_DSA")

    model, card = load_checkpoint(small_checkpoint)
    monkeypatch.setattr(model, "to", broken)
    with pytest.raises(MachineError, match=r"cannot be used \(CUDA error: no kernel image is available\); try cpu"):
        Segmenter(model, card)


@pytest.mark.skipif(torch.cuda.is_available(), reason="about machines without a GPU")
@pytest.mark.parametrize("engine", [None, "reference"])
def test_a_gpu_that_does_not_work_is_left_alone_or_refused(engine: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(SkinlesionError, match=r"cuda cannot be used \((AssertionError|RuntimeError): .*(CUDA|NVIDIA)"):
        choose_fitting_device("cuda", engine)
    if engine is None:  # a network without a scan
        with pytest.warns(UserWarning, match="The GPU isn't used: The device cuda cannot be used"):
            assert choose_fitting_device("auto", engine) == torch.device("cpu")


def test_a_device_of_torch_may_be_numbered(small_checkpoint: Path) -> None:
    assert Segmenter.from_pretrained(small_checkpoint, device=torch.device("cpu", 0)).device.type == "cpu"
    with pytest.raises(SkinlesionError, match="must be auto, cpu"):
        Segmenter.from_pretrained(small_checkpoint, device=torch.device("meta"))
