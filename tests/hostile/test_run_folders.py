"""Run folders, checkpoints and cards that somebody damaged: one sentence that names the file, never a traceback."""

import json
import random
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hostile_values import changed, hostile_value, spoil

from skinlesion.checkpoint import load_checkpoint, read_card
from skinlesion.data.splits import Manifest
from skinlesion.errors import SkinlesionError
from skinlesion.model_card import export
from skinlesion.training import TrainConfig, train
from skinlesion.training.checkpoint_io import SafeCheckpointIO
from skinlesion.training.history import RunRecord
from skinlesion.training.run_folder import read_run

SEEDS = range(150)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, lesions: Path) -> Path:
    """A finished run. Copy it before you change it."""
    folder = tmp_path_factory.mktemp("hostile") / "run"
    model = ("dim=16", "depths=1,1", "decoder_depths=1,1", "d_state=2")
    options: dict[str, Any] = {"preset": "tiny", "model": model, "size": 32, "truth_size": 32, "estimate": False}
    options |= {"data": "folder", "root": lesions, "epochs": 1, "batch_size": 4, "device": "cpu"}
    train(TrainConfig(**options, out=folder, cache_dir=folder.parent / "cache"))
    return folder


def refused_or_fine(action: Callable[[], object]) -> str:
    """The message if the input was refused; any other exception fails the test."""
    try:
        action()
    except SkinlesionError as error:
        text = str(error)
        assert text.isprintable(), text
        assert len(text) < 1500
        return text
    return ""


@pytest.mark.parametrize("name", ["config.json", "manifest.json"])
def test_a_damaged_file_of_a_run_is_named(run: Path, tmp_path: Path, name: str) -> None:
    refused = 0
    read = TrainConfig.load if name == "config.json" else Manifest.load
    for seed in SEEDS:
        path = Path(shutil.copy(run / name, tmp_path / name))
        spoil(path, random.Random(seed))
        if text := refused_or_fine(lambda path=path: read(path)):
            refused += 1
            assert name in text
    assert refused > len(SEEDS) / 2


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("seed", 2**70), ("epochs", True), ("threads", 1_000_000), ("size", 10**6), ("lr", "fast"), ("model", 3)),
        *(("root", ["a"]), ("device", None), ("split", 4), ("ema", float("nan")), ("preset", {})),
    ],
)
def test_a_field_of_the_config_is_named(run: Path, tmp_path: Path, field: str, value: Any) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads((run / "config.json").read_text()) | {field: value}))
    text = refused_or_fine(lambda: TrainConfig.load(path))
    assert "config.json" in text
    assert f"--{field}" in text


@pytest.mark.parametrize(
    ("name", "content"),
    [
        *(("result.json", content) for content in (b"{", b"[]", b"{}", b'{"selected": {}}')),
        *(("environment.json", content) for content in (b"[{", "[]".encode("utf-16"), b"{}")),
    ],
)
def test_resuming_a_damaged_run(run: Path, tmp_path: Path, cli, name: str, content: bytes) -> None:
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    if name == "environment.json":
        (folder / "result.json").unlink()
    (folder / name).write_bytes(content)
    code, _, err = cli("train", "--resume", "--out", folder, "--no-estimate")
    assert (code, err.count("\n")) == (2, 1), err
    assert name in err


def test_the_app_reads_damaged_runs(run: Path, tmp_path: Path) -> None:
    for seed in SEEDS:
        folder = tmp_path / f"run{seed}"
        folder.mkdir()
        for name in ("config.json", "metrics.csv", "result.json"):
            shutil.copy(run / name, folder / name)
        source = random.Random(seed)
        spoil(folder / "config.json", source)
        if source.random() < 0.3:
            data = (folder / "metrics.csv").read_bytes()
            (folder / "metrics.csv").write_bytes(data[: source.randrange(len(data))])
        refused_or_fine(lambda folder=folder: read_run(folder))


def hostile_checkpoint(checkpoint: dict[str, Any], source: random.Random) -> Any:
    """A checkpoint with one field gone, replaced or swollen."""
    copy = dict(checkpoint)
    name = source.choice(sorted(copy))
    kind = source.randrange(6)
    if kind == 0:
        del copy[name]
    elif kind == 1:
        copy[name] = torch.zeros(1).expand(10**11)
    elif kind == 2:
        copy["optimizer_states"] = source.choice([[{}], [], [None], [{"state": {0: {"exp_avg": torch.zeros(3)}}}]])
    elif kind == 3:
        copy["state_dict"] = {**copy["state_dict"], source.choice(sorted(copy["state_dict"])): hostile_value(source)}
    elif kind == 4:
        return source.choice([{}, [], None, 3, "text", {"state_dict": {}}, {"state_dict": {1: torch.zeros(1)}}])
    else:
        value = hostile_value(source)
        copy[name] = value if not isinstance(value, int) or abs(value) < 2**62 else str(value)
    return copy


def test_damaged_checkpoints_of_a_run_are_refused_by_their_reader(run: Path, tmp_path: Path) -> None:
    good = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    reader = SafeCheckpointIO(good["state_dict"])
    path = tmp_path / "last.ckpt"
    for seed in SEEDS:
        source = random.Random(seed)
        if seed % 10 == 0:
            path.write_bytes(source.randbytes(source.randrange(200)))
        else:
            torch.save(hostile_checkpoint(good, source), path)
        text = refused_or_fine(lambda: reader.load_checkpoint(path))
        assert not text or "last.ckpt" in text


@pytest.mark.parametrize("seed", range(12))
def test_resuming_from_a_damaged_checkpoint(run: Path, tmp_path: Path, seed: int) -> None:
    """What its reader cannot see Lightning stumbles over; that is one sentence, too."""
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    last = folder / "checkpoints" / "last.ckpt"
    good = torch.load(last, weights_only=True)
    part = ("callbacks", "loops", "optimizer_states")[seed % 3]
    source = random.Random(seed)
    plain = {"callbacks": {"x": 1}, "loops": {"fit_loop": {"state_dict": {}}}, "optimizer_states": [{"state": {}}]}
    torch.save({**good, part: changed(plain[part], source)}, last)
    config = TrainConfig.load(folder / "config.json")
    options = {**config.to_json(), "epochs": 2, "resume": True, "out": str(folder)}
    text = refused_or_fine(lambda: train(TrainConfig.from_json(options)))
    assert not text or "last.ckpt" in text


def test_histories_that_are_none(tmp_path: Path) -> None:
    record = RunRecord(tmp_path, "val_iou", lambda row: {})
    for seed in SEEDS:
        source = random.Random(seed)
        state = {"history": hostile_value(source), "best": hostile_value(source)}
        with pytest.raises(SkinlesionError, match=r"last\.ckpt is damaged"):
            record.load_state_dict(state)


def with_card(path: Path, source_file: Path, card: Any) -> None:
    """The tensors of a checkpoint under another card."""
    data = source_file.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    header["__metadata__"]["skinlesion"] = card if isinstance(card, str) else json.dumps(card)
    raw = json.dumps(header).encode("utf-8", "surrogatepass")
    path.write_bytes(struct.pack("<Q", len(raw)) + raw + data[8 + length :])


def test_hostile_cards_are_refused_or_harmless(run: Path, tmp_path: Path) -> None:
    """A card that is accepted is good enough for the model card, which shows all of it."""
    good = read_card(run)
    good["origin"] = {"data": dict(good["data"]), "training": {"options": {"lr": 0.1}}, "command": "x", "seed": 1}
    path, copy = tmp_path / "bad.safetensors", tmp_path / "copy.safetensors"
    for seed in SEEDS:
        source = random.Random(seed)
        try:
            with_card(path, run / "best.safetensors", changed(good, source))
        except ValueError:
            continue  # a number too long to be written
        if not refused_or_fine(lambda: load_checkpoint(path)):
            refused = refused_or_fine(lambda: export(path, copy))
            assert copy.exists() == copy.with_suffix(".md").exists() == (not refused)  # never one without the other
            for each in (copy, copy.with_suffix(".md")):
                each.unlink(missing_ok=True)


@pytest.mark.parametrize("field", ["data", "origin", "metrics", "training"])
@pytest.mark.parametrize("value", [None, [], "text", 3])
def test_a_field_of_the_card_is_named(run: Path, tmp_path: Path, field: str, value: Any) -> None:
    with_card(tmp_path / "bad.safetensors", run / "best.safetensors", {**read_card(run), field: value})
    with pytest.raises(SkinlesionError, match=rf"bad\.safetensors is damaged: {field} must be an object, not"):
        load_checkpoint(tmp_path / "bad.safetensors")


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "F8_E4M3", "shape": [2], "data_offsets": [0, 2]},
        {"dtype": "F32", "shape": [10**4000], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [1] * 1000, "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [2], "data_offsets": [0, 10**400]},
        {"dtype": "F32", "shape": 3, "data_offsets": [0, 4]},
        {"dtype": ["F32"], "shape": [1], "data_offsets": [0, 4]},
    ],
)
def test_tensors_that_no_model_has(run: Path, tmp_path: Path, entry: dict[str, Any]) -> None:
    path = tmp_path / "bad.safetensors"
    data = (run / "best.safetensors").read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    shape = "[1" + "0" * 4000 + "]"
    raw = json.dumps(header | {"extra": entry | ({"shape": "HUGE"} if entry["shape"] == [10**4000] else {})})
    raw = raw.replace('"HUGE"', shape)
    path.write_bytes(struct.pack("<Q", len(raw)) + raw.encode() + data[8 + length :])
    with pytest.raises(SkinlesionError, match=r"bad\.safetensors"):
        load_checkpoint(path)
