import pickle

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from PIL import Image

from skinlesion.data.datamodule import SegmentationData
from skinlesion.data.dataset import EpochSampler, LesionDataset
from skinlesion.data.images import normalize
from skinlesion.data.layouts import find_samples
from skinlesion.data.splits import make_manifest
from skinlesion.errors import SkinlesionError


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    random = np.random.default_rng(0)
    for folder in ("images", "masks"):
        (root / folder).mkdir()
    for number in range(30):
        picture = random.integers(0, 256, (24, 32, 3), dtype=np.uint8)
        Image.fromarray(picture).save(root / "images" / f"i{number:02d}.png")
        Image.fromarray(picture[..., 0] > 128).save(root / "masks" / f"i{number:02d}.png")
    return root


@pytest.fixture
def make(root, tmp_path_factory):
    cache = tmp_path_factory.getbasetemp() / "cache"

    def build(**options) -> SegmentationData:
        options = {"size": 16, "truth_size": 20, "batch_size": 4, "recipe": "strong", **options}
        return SegmentationData("folder", root, cache_dir=cache, **options)

    return build


def epoch_of(data: SegmentationData, epoch: int) -> list[dict]:
    loader = data.train_dataloader()
    loader.sampler.set_epoch(epoch)
    return list(loader)


def same(one: list[dict], other: list[dict]) -> bool:
    return len(one) == len(other) and all(
        a["id"] == b["id"] and torch.equal(a["image"], b["image"]) and torch.equal(a["mask"], b["mask"])
        for a, b in zip(one, other, strict=True)
    )


def test_batches_have_the_promised_form(make):
    data = make()
    data.prepare_data()
    train = next(iter(data.train_dataloader()))
    assert (train["image"].shape, train["image"].dtype) == ((4, 3, 16, 16), torch.float32)
    assert (train["mask"].shape, train["mask"].dtype) == ((4, 1, 16, 16), torch.float32)
    assert train["image"].amin(dim=(1, 2, 3)).tolist() == [0.0] * 4
    assert train["image"].amax(dim=(1, 2, 3)).tolist() == pytest.approx([1.0] * 4)
    assert train["counted"].tolist() == [True] * 4
    batches = list(data.val_dataloader())
    assert [id for batch in batches for id in batch["id"]] == list(data.manifest.parts["val"])
    assert batches[0]["mask"].shape[1:] == (1, 20, 20)
    assert set(batches[0]["mask"].unique().tolist()) == {0.0, 1.0}


def test_evaluation_is_not_augmented(make, root):
    data = make(normalization="minmax255")
    part = data.part("test")
    assert tuple(part.ids) == data.manifest.parts["test"]
    image = np.asarray(part.images[part.rows])[3]
    assert (image.dtype, image.shape) == (np.uint8, (16, 16, 3))
    item = part[3]
    np.testing.assert_array_equal(item["image"].numpy().transpose(1, 2, 0), normalize(image, "minmax255"))
    assert item["image"].max() == pytest.approx(255.0)


def test_an_epoch_is_a_function_of_seed_and_epoch(make):
    first = epoch_of(make(seed=1), 0)
    assert same(first, epoch_of(make(seed=1), 0))
    data = make(seed=1)
    later = epoch_of(data, 7)
    assert same(later, epoch_of(make(seed=1), 7))  # as after a resume, without the epochs before
    assert same(first, epoch_of(data, 0))
    assert not same(first, later)
    assert not same(first, epoch_of(make(seed=2), 0))
    assert sorted(id for batch in later for id in batch["id"]) == list(data.manifest.parts["train"])


def test_an_image_is_augmented_differently_in_each_epoch(make):
    data = make()
    pictures = {
        batch["image"][batch["id"].index("i05")].numpy().tobytes()
        for epoch in range(5)
        for batch in epoch_of(data, epoch)
        if "i05" in batch["id"]
    }
    assert "i05" in data.manifest.parts["train"]
    assert len(pictures) == 5


@pytest.mark.filterwarnings("ignore:This DataLoader will create 2 worker processes")  # on a machine with one core
def test_workers_give_the_same_batches_in_every_epoch(make):
    data = make(num_workers=2)
    loader = data.train_dataloader()
    for epoch in range(2):  # the same workers live through both
        loader.sampler.set_epoch(epoch)
        assert same(list(loader), epoch_of(make(), epoch))


def test_parts_can_be_sent_to_spawned_workers(make):
    part = make().part("train")
    copy = pickle.loads(pickle.dumps(part))
    assert torch.equal(copy[2]["image"], part[2]["image"])


@pytest.mark.parametrize("length", [24, 23, 3, 1])
def test_processes_share_the_batch_of_one(length):
    per_process = 2
    one = EpochSampler(length, seed=3, shuffle=True, num_replicas=1, rank=0)
    two = [EpochSampler(length, seed=3, shuffle=True, num_replicas=2, rank=rank) for rank in range(2)]
    for epoch in range(3):
        for sampler in (one, *two):
            sampler.set_epoch(epoch)
        whole, halves = list(one), [list(sampler) for sampler in two]
        assert sorted(draw.place for draw in whole) == list(range(length))
        assert len(halves[0]) == len(halves[1]) == len(two[0]) == (length + 1) // 2
        for step in range(0, len(halves[0]), per_process):
            union = {draw for half in halves for draw in half[step : step + per_process] if draw.counted}
            assert union == set(whole[2 * step : 2 * (step + per_process)])
        assert sum(draw.counted for half in halves for draw in half) == length


def test_a_last_batch_of_one_is_dropped_in_training_only(make):
    data = make(batch_size=4)
    assert len(data.part("train")) == 19
    assert [len(batch["id"]) for batch in data.train_dataloader()] == [4, 4, 4, 4, 3]
    assert [len(batch["id"]) for batch in make(batch_size=6).train_dataloader()] == [6, 6, 6]
    assert [len(batch["id"]) for batch in make(batch_size=1).train_dataloader()] == [1] * 19
    assert len(make(batch_size=3).val_dataloader().dataset) == len(make(batch_size=3).part("val"))


class Listener(pl.LightningModule):
    """Trains one number and writes down what it was given."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen: list[tuple[int, list[str]]] = []

    def training_step(self, batch, _):
        self.seen.append((self.current_epoch, batch["id"]))
        return (self.weight * batch["image"]).mean()

    def validation_step(self, batch, _):
        assert batch["mask"].shape[-1] == 20

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


@pytest.mark.filterwarnings("ignore:The '.*_dataloader' does not have many workers")
@pytest.mark.filterwarnings("ignore:`isinstance.treespec, LeafSpec.` is deprecated:FutureWarning")  # Lightning's own
def test_lightning_keeps_the_sampler_and_tells_it_the_epoch(make, tmp_path):
    listener = Listener()
    trainer = pl.Trainer(
        max_epochs=3,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        default_root_dir=tmp_path,
    )
    trainer.fit(listener, datamodule=make())
    expected = [(epoch, batch["id"]) for epoch in range(3) for batch in epoch_of(make(), epoch)]
    assert listener.seen == expected


def test_synthetic_images_need_no_data():
    data = SegmentationData("synthetic", size=16, truth_size=24, batch_size=2, synthetic_count=8)
    data.prepare_data()
    batch = next(iter(data.train_dataloader()))
    assert batch["image"].shape == (2, 3, 16, 16)
    assert batch["mask"].flatten(1).any(dim=1).all()
    again = SegmentationData("synthetic", size=16, truth_size=24, batch_size=2, synthetic_count=8)
    again.prepare_data()
    assert torch.equal(next(iter(again.val_dataloader()))["image"], next(iter(data.val_dataloader()))["image"])


def test_own_samples_and_own_manifest(root, tmp_path):
    samples = find_samples(root, "folder")[:12]
    manifest = make_manifest(samples[:9], "folder", seed=8)
    data = SegmentationData("folder", samples=samples, manifest=manifest, size=8, cache_dir=tmp_path)
    assert data.manifest is manifest
    assert len(data.part("train")) + len(data.part("val")) + len(data.part("test")) == 9
    assert isinstance(data.part("val"), LesionDataset)
    manifest.save(tmp_path / "split.json")
    assert SegmentationData("folder", root, split=tmp_path / "split.json").manifest == manifest
    with pytest.raises(SkinlesionError, match="not both"):
        SegmentationData("folder", root, manifest=manifest, split="random")


def test_mistakes_are_named_before_training(root, make):
    for options, match in (
        ({"split": "papr"}, "Unknown split 'papr'"),
        ({"recipe": "heavy"}, "Unknown recipe"),
        ({"normalization": "imagenet"}, "Unknown normalization"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"manifest": make_manifest(["x", "y", "z"], "folder")}, "lack 3 images"),
    ):
        with pytest.raises(SkinlesionError, match=match):
            make(**options)
    with pytest.raises(SkinlesionError, match="isic2017 needs a root"):
        SegmentationData("isic2017")
    with pytest.raises(SkinlesionError, match=r"Unknown part 'tset'.*train, val, test"):
        make().part("tset")
