"""A path may be given as text or as a Path, everywhere, with the same outcome."""

from pathlib import Path

import pytest

from skinlesion.checkpoint import load_checkpoint, read_card, save_checkpoint, tensors_hash
from skinlesion.data.layouts import find_samples
from skinlesion.data.source import DataSource
from skinlesion.data.splits import Manifest, make_manifest
from skinlesion.data.synthetic import write_dataset
from skinlesion.model_card import export
from skinlesion.prediction import predict_files
from skinlesion.segmenter import Segmenter
from skinlesion.training import TrainConfig, train
from skinlesion.training.run_folder import find_runs, read_run

KINDS = pytest.mark.parametrize("kind", [str, Path])


@KINDS
def test_data(lesions: Path, tmp_path: Path, kind: type) -> None:
    assert len(DataSource(root=kind(lesions)).find("folder").samples) == 10
    both = DataSource(images=kind(lesions / "images"), masks=kind(lesions / "masks"))
    assert len(both.find("folder").samples) == 10
    assert both.folder == lesions
    manifest = make_manifest(find_samples(kind(lesions), "folder"), "folder")
    manifest.save(kind(tmp_path / "split.json"))
    assert Manifest.load(kind(tmp_path / "split.json")) == manifest
    assert write_dataset(kind(tmp_path / "new"), n=1, seed=0, size=16) == tmp_path / "new"


@KINDS
def test_weights(small_checkpoint: Path, lesions: Path, tmp_path: Path, kind: type) -> None:
    model, card = load_checkpoint(kind(small_checkpoint))
    save_checkpoint(kind(tmp_path / "a.safetensors"), model, card)
    assert tensors_hash(kind(tmp_path / "a.safetensors")) == tensors_hash(kind(small_checkpoint))
    assert read_card(kind(tmp_path / "a.safetensors"))["model"] == card["model"]
    assert export(kind(small_checkpoint), kind(tmp_path / "b.safetensors"))[0] == tmp_path / "b.safetensors"
    segmenter = Segmenter.from_pretrained(kind(small_checkpoint))
    image = next((lesions / "images").iterdir())
    found = predict_files(segmenter, [kind(image)], kind(tmp_path / "out"))
    assert found.done[0].image == image
    assert found.table == tmp_path / "out" / "predictions.csv"


@KINDS
def test_training(small_checkpoint: Path, lesions: Path, tmp_path: Path, kind: type) -> None:
    split = tmp_path / "split.json"
    make_manifest(find_samples(lesions, "folder"), "folder").save(split)
    config = TrainConfig(
        preset="tiny",
        model=("dim=16", "depths=1,1", "decoder_depths=1,1", "d_state=2"),
        start_from=kind(small_checkpoint),
        data="folder",
        root=kind(lesions),
        split=kind(split),
        cache_dir=kind(tmp_path / "cache"),
        size=32,
        truth_size=32,
        epochs=1,
        batch_size=4,
        device="cpu",
        estimate=False,
        out=kind(tmp_path / "run"),
    )
    result = train(config)
    assert result.folder == tmp_path / "run"
    assert TrainConfig.load(kind(tmp_path / "run" / "config.json")) == config
    assert find_runs(kind(tmp_path)) == [tmp_path / "run"]
    assert read_run(kind(tmp_path / "run")).config["preset"] == "tiny"
