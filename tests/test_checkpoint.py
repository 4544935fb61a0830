import contextlib
import json
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from skinlesion import SkinlesionError, create_model, load_checkpoint, save_checkpoint
from skinlesion.checkpoint import available_weights, find_weights, read_card, tensors_hash

SMALL = {"dim": 16, "depths": (1, 1), "decoder_depths": (1, 1), "d_state": 2}


def rewrite(source: Path, target: Path, change: Callable[[dict[str, Any], dict[str, Any]], None]) -> Path:
    """Copy a checkpoint with its header and card changed in place; the tensors stay."""
    raw = source.read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    header = json.loads(raw[8 : 8 + length])
    card = json.loads(header["__metadata__"]["skinlesion"])
    change(header, card)
    header["__metadata__"]["skinlesion"] = json.dumps(card)
    text = json.dumps(header).encode()
    target.write_bytes(struct.pack("<Q", len(text)) + text + raw[8 + length :])
    return target


def test_a_model_comes_back_as_it_was(tmp_path: Path, card: dict) -> None:
    model = create_model("tiny", **SMALL, se=False).eval()
    save_checkpoint(tmp_path / "a.safetensors", model, card)
    loaded, read = load_checkpoint(tmp_path / "a.safetensors")
    image = torch.rand(2, 3, 20, 28)
    assert model(image).std() > 1e-3
    assert torch.equal(loaded(image), model(image))
    assert not loaded.training
    assert loaded.name == "tiny"
    assert loaded.config == model.config
    assert read["metrics"] == card["metrics"]
    assert read["model"]["config"]["se"] is False
    assert read_card(tmp_path / "a.safetensors") == read
    assert [path.name for path in tmp_path.iterdir()] == ["a.safetensors"]


def test_the_unet_with_batch_statistics_comes_back(tmp_path: Path, card: dict) -> None:
    model = create_model("unet", dim=4, stages=2)
    model(torch.rand(4, 3, 16, 16))  # moves the running statistics away from where they start
    save_checkpoint(tmp_path / "u.safetensors", model, card, half=True)
    loaded, _ = load_checkpoint(tmp_path / "u.safetensors")
    for name, value in model.state_dict().items():
        assert torch.allclose(loaded.state_dict()[name].double(), value.double(), rtol=1e-3, atol=1e-6), name
        assert loaded.state_dict()[name].dtype == value.dtype


def test_half_precision_halves_the_file_and_comes_back_as_float32(tmp_path: Path, card: dict) -> None:
    model = create_model("tiny", dim=16)
    save_checkpoint(tmp_path / "full.safetensors", model, card)
    save_checkpoint(tmp_path / "half.safetensors", model, card, half=True)
    full, half = ((tmp_path / f"{name}.safetensors").stat().st_size for name in ("full", "half"))
    assert half < 0.6 * full
    loaded, read = load_checkpoint(tmp_path / "half.safetensors")
    assert read["stored_bits"] == 16
    for name, value in model.named_parameters():
        assert torch.equal(dict(loaded.named_parameters())[name], value.half().float())


def test_loading_leaves_the_random_numbers_alone(small_checkpoint: Path) -> None:
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    load_checkpoint(small_checkpoint)
    assert torch.equal(torch.rand(4), expected)


@pytest.mark.parametrize(("value", "half"), [(float("nan"), False), (float("inf"), False), (1e6, True)])
def test_weights_that_cannot_be_stored_leave_the_old_file(tmp_path: Path, card: dict, value: float, half: bool) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(b"before")
    model = create_model("tiny", **SMALL)
    with torch.no_grad():
        model.head.weight.fill_(value)
    with pytest.raises(SkinlesionError, match=r"head\.weight"):
        save_checkpoint(path, model, card, half=half)
    assert path.read_bytes() == b"before"
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    "broken",
    [
        {"preprocessing": None},
        {"preprocessing": {"size": [32], "normalize": "minmax"}},
        {"preprocessing": {"size": [32, 0], "normalize": "minmax"}},
        {"preprocessing": {"size": [32, 10**9], "normalize": "minmax"}},
        {"preprocessing": {"size": [True, 32], "normalize": "minmax"}},
        {"preprocessing": {"size": [32, 32], "normalize": "imagenet"}},
        {"threshold": 1.5},
        {"threshold": "0.5"},
        {"metrics": object()},
        {"metrics": float("nan")},
    ],
)
def test_an_incomplete_card_is_not_written(tmp_path: Path, card: dict, broken: dict) -> None:
    with pytest.raises(SkinlesionError, match="card"):
        save_checkpoint(tmp_path / "a.safetensors", create_model("tiny", **SMALL), {**card, **broken})
    assert not list(tmp_path.iterdir())


def test_weights_are_found_by_file_and_by_run_folder(small_checkpoint: Path, tmp_path: Path) -> None:
    assert find_weights(small_checkpoint) == small_checkpoint
    with pytest.raises(SkinlesionError, match=r"without best\.safetensors"):
        find_weights(tmp_path)
    (tmp_path / "best.safetensors").write_bytes(small_checkpoint.read_bytes())
    assert find_weights(str(tmp_path)) == tmp_path / "best.safetensors"


def test_every_shipped_checkpoint_loads_and_is_small_enough() -> None:
    for name in available_weights():
        assert find_weights(name).stat().st_size <= 10_000_000
        model, card = load_checkpoint(name)
        assert card["model"]["name"] == model.name


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(SkinlesionError, match=r"Unknown weights 'huge'") as error:
        load_checkpoint("huge")
    for name in available_weights():
        assert name in str(error.value)


def test_a_file_cut_short_anywhere_is_refused(small_checkpoint: Path, tmp_path: Path) -> None:
    raw = small_checkpoint.read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    path = tmp_path / "cut.safetensors"
    for end in (0, 5, 8, 9, 8 + length // 2, 8 + length, len(raw) - 1):
        path.write_bytes(raw[:end])
        with pytest.raises(SkinlesionError, match=r"cut\.safetensors"):
            load_checkpoint(path)


class _Bomb:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("write", [torch.save, lambda value, path: path.write_bytes(pickle.dumps(value))])
def test_a_pickle_is_refused_and_not_opened(tmp_path: Path, write: Callable) -> None:
    write({"state_dict": _Bomb(tmp_path / "exploded")}, tmp_path / "model.safetensors")
    with pytest.raises(SkinlesionError, match="pickle"):
        load_checkpoint(tmp_path / "model.safetensors")
    assert not (tmp_path / "exploded").exists()


def test_a_header_may_have_a_length_that_begins_like_a_pickle(tmp_path: Path, card: dict) -> None:
    path = tmp_path / "a.safetensors"
    model = create_model("tiny", **SMALL)
    for padding in range(0, 264, 8):  # safetensors aligns headers to 8 bytes
        save_checkpoint(path, model, {**card, "note": padding * "x"})
        if path.read_bytes()[:1] == b"\x80":
            break
    else:
        pytest.fail("no padding gave such a length")
    assert load_checkpoint(path)[0].name == "tiny"


def test_files_of_others_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_file({"weight": torch.zeros(2)}, path, metadata={"format": "pt"})
    with pytest.raises(SkinlesionError, match="not one that skinlesion wrote"):
        load_checkpoint(path)
    for content in (b"\xff" * 100, struct.pack("<Q", 5) + b"[1,2]", struct.pack("<Q", 60000) + b"[" * 60000):
        path.write_bytes(content)
        with pytest.raises(SkinlesionError, match=r"other\.safetensors"):
            load_checkpoint(path)


def test_another_architecture_is_refused_by_the_weight_that_differs(small_checkpoint: Path, tmp_path: Path) -> None:
    def claim(**options: Any) -> Path:
        def change(_: dict, card: dict) -> None:
            card["model"]["config"].update(options)

        return rewrite(small_checkpoint, tmp_path / "x.safetensors", change)

    with pytest.raises(SkinlesionError, match=r"does not fit its model 'tiny': the weight .* another architecture"):
        load_checkpoint(claim(dim=8))
    with pytest.raises(SkinlesionError, match=r"\.se\..* and missing in the model"):
        load_checkpoint(claim(se=False))
    with pytest.raises(SkinlesionError, match="missing in the file"):
        load_checkpoint(claim(depths=[1, 2]))


@pytest.mark.parametrize(
    "model",
    [
        {"name": "tiny", "config": {"dim": 4096, "depths": [1, 1], "decoder_depths": [1, 1]}},
        {"name": "tiny", "config": {"dim": 8, "d_state": 4096, "expand": 4096}},
        {"name": "tiny", "config": {"dim": 10**12}},
        {"name": "tiny", "config": {"dim": -4}},
        {"name": "tiny", "config": {"dim": "4"}},
        {"name": "tiny", "config": {"dim": {"a": 1}}},
        {"name": "tiny", "config": {"dim": 1e308}},
        {"name": "tiny", "config": {"depths": [1] * 400}},
        {"name": "tiny", "config": {"depths": ["x"]}},
        {"name": "tiny", "config": {"depths": [4000, 1], "decoder_depths": [1, 1]}},
        {"name": "tiny", "config": {"surprise": 1}},
        {"name": "unet", "config": {"stages": 4096}},
        {"name": "unet", "config": {"stages": 20}},
        {"name": "../../etc/passwd", "config": {}},
        {"name": ["tiny"], "config": {}},
        {"name": "tiny"},
        "tiny",
    ],
)
def test_a_hostile_config_is_refused_before_it_takes_memory(small_checkpoint: Path, tmp_path: Path, model: Any) -> None:
    resource = pytest.importorskip("resource")
    path = rewrite(small_checkpoint, tmp_path / "x.safetensors", lambda _, card: card.update(model=model))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(SkinlesionError, match=r"x\.safetensors"):
        load_checkpoint(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB; the file has some hundred


def test_weights_that_are_not_finite_are_refused(tmp_path: Path, card: dict) -> None:
    model = create_model("tiny", **SMALL)
    save_checkpoint(tmp_path / "a.safetensors", model, card)
    raw = bytearray((tmp_path / "a.safetensors").read_bytes())
    raw[-4:] = struct.pack("<f", float("nan"))
    (tmp_path / "a.safetensors").write_bytes(raw)
    with pytest.raises(SkinlesionError, match="is not finite"):
        load_checkpoint(tmp_path / "a.safetensors")


def test_a_newer_format_says_so(small_checkpoint: Path, tmp_path: Path) -> None:
    path = rewrite(small_checkpoint, tmp_path / "x.safetensors", lambda _, card: card.update(format=3))
    with pytest.raises(SkinlesionError, match=r"format 3.*update"):
        load_checkpoint(path)


@given(st.data())
def test_no_damage_to_the_header_gives_anything_but_one_error(
    small_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    raw = bytearray(small_checkpoint.read_bytes())
    (length,) = struct.unpack("<Q", raw[:8])
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, 8 + length))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "damaged.safetensors"
    path.write_bytes(raw)
    with contextlib.suppress(SkinlesionError):
        model, card = load_checkpoint(path)
        assert card["model"]["name"] == model.name


def test_the_hash_is_of_the_tensors_alone(small_checkpoint: Path, tmp_path: Path) -> None:
    path = rewrite(small_checkpoint, tmp_path / "x.safetensors", lambda _, card: card.update(note="measured"))
    assert tensors_hash(path) == tensors_hash(small_checkpoint)
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)
    assert tensors_hash(path) != tensors_hash(small_checkpoint)
