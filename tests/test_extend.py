"""Networks, data sets, losses and engines of one's own: docs/extend.md as it stands, and what goes wrong."""

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

import skinlesion
from skinlesion import Segmenter, SkinlesionError, extend
from skinlesion.checkpoint import load_checkpoint, save_checkpoint
from skinlesion.data.layouts import find_samples
from skinlesion.data.mask_values import MaskRules
from skinlesion.data.sample import Sample
from skinlesion.data.source import DataSource
from skinlesion.data.splits import Manifest, make_manifest
from skinlesion.plugins import PLUGINS
from skinlesion.training.config import TrainConfig
from skinlesion.training.config_file import read_toml
from skinlesion.training.module import SegmentationModule
from skinlesion.zoo import REGISTRY, create_model

pytestmark = pytest.mark.usefixtures("registries")

PAGE = (Path(__file__).parents[1] / "docs" / "extend.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"<!-- (file|test): (\S+) -->\n```(\w+)\n(.*?)```", re.DOTALL)
CARD = {"preprocessing": {"size": [32, 32], "normalize": "minmax"}}


class Plain(nn.Module):
    def __init__(self, dim: int = 4, rate: float = 0.5, deep: bool = False, widths: tuple[int, ...] = (2, 3)) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 1, 1)
        self.given = (dim, rate, deep, widths)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.conv(image)


class Wrong(Plain):
    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.conv(image)[:, :, ::2, ::2]


@pytest.mark.slow
def test_the_page_works_as_it_stands(tmp_path: Path) -> None:
    """Each line in a process of its own, as a reader types them."""
    environment, done = dict(os.environ), 0
    for kind, name, language, text in BLOCK.findall(PAGE):
        if kind == "file":
            (tmp_path / name).write_text(text, encoding="utf-8")
            continue
        lines = [line[2:] for line in text.splitlines()] if language == "console" else [text]
        for line in lines:
            if line.startswith("export "):
                key, _, value = line.removeprefix("export ").partition("=")
                environment[key] = value
                continue
            words = ["-m", *shlex.split(line)] if language == "console" else ["-c", line]
            found = subprocess.run(
                [sys.executable, *words],
                cwd=tmp_path,
                env=environment,
                capture_output=True,
                text=True,
                timeout=300,
                check=False,
            )
            assert found.returncode == 0, f"{line}\n{found.stdout}\n{found.stderr}"
            done += 1
    assert done >= 10
    for made in (
        "run/best.safetensors",
        "masks/predictions.csv",
        "two-layers.safetensors",
        "trained-without-x/best.safetensors",
        "seven/config.json",
        "logs",
    ):
        assert (tmp_path / made).exists(), made
    bare = {name: value for name, value in environment.items() if name != PLUGINS}
    found = subprocess.run(
        [sys.executable, "-m", "skinlesion", "predict", "lesions/images", "--weights", "another", "--out", "x"],
        cwd=tmp_path,
        env=bare,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 2  # the file's name imports nothing
    assert "SKINLESION_PLUGINS=mine" in found.stderr


def test_a_registered_network_gets_its_options_and_survives_a_file(tmp_path: Path) -> None:
    skinlesion.register_model("plain", Plain)
    model = create_model("plain", dim=7, widths=(4, 5), deep=True)
    assert model.given == (7, 0.5, True, (4, 5))
    save_checkpoint(tmp_path / "plain.safetensors", model, CARD)
    again, card = load_checkpoint(tmp_path / "plain.safetensors")
    assert again.given == (7, 0.5, True, (4, 5))
    assert card["model"]["name"] == "plain"
    with pytest.raises(SkinlesionError, match="the options are: dim, rate, deep, widths"):
        create_model("plain", width=3)


def test_a_network_whose_output_does_not_fit_is_named_where_it_is_used() -> None:
    skinlesion.register_model("wrong", Wrong)
    segmenter = Segmenter(create_model("wrong"), CARD)
    with pytest.raises(SkinlesionError, match=r"must return logits of shape \(1, 1, 32, 32\).*\(1, 1, 16, 16\)"):
        segmenter.segment(torch.zeros(8, 8, 3, dtype=torch.uint8).numpy())


@pytest.mark.parametrize(
    ("name", "network", "message"),
    [
        ("unet", Plain, "already"),
        ("paper", Plain, "already"),
        ("", Plain, "letters"),
        ("a b", Plain, "letters"),
        ("../x", Plain, "letters"),
        ("own", nn.Linear, "no default"),
        ("own", lambda act="gelu": nn.Identity(), "cannot be stored in a checkpoint: act must be"),
    ],
)
def test_what_cannot_be_registered(name: str, network: object, message: str) -> None:
    with pytest.raises(SkinlesionError, match=message):
        skinlesion.register_model(name, network)  # type: ignore[arg-type]


def test_other_names_that_are_taken() -> None:
    with pytest.raises(SkinlesionError, match="already"):
        skinlesion.register_dataset("isic2017", lambda root: [])
    with pytest.raises(SkinlesionError, match="already"):
        skinlesion.register_loss("bce_dice", lambda a, b: a.mean())
    for engine in ("auto", "cpu"):
        with pytest.raises(SkinlesionError, match="already"):
            skinlesion.register_engine(engine, lambda *a: a[0])


def own_samples(root: Path, parts: tuple[str | None, ...]) -> list[Sample]:
    images = sorted((root / "images").iterdir())
    return [
        Sample(image.stem, image, root / "masks" / f"{image.stem}.png", parts[number % len(parts)])
        for number, image in enumerate(images)
    ]


@pytest.mark.parametrize(
    ("parts", "split", "sizes"),
    [((None,), "random", (6, 1, 3)), (("train", "train", "train", "val", "test"), "official", (6, 2, 2))],
)
def test_a_registered_data_set_is_trained_on_and_evaluated(
    parts: tuple[str | None, ...], split: str, sizes: tuple[int, ...], cli, lesions: Path, tmp_path: Path
) -> None:
    skinlesion.register_dataset("own", lambda root: own_samples(root, parts))
    run, scores = tmp_path / "run", tmp_path / "scores.json"
    code, _, err = cli(
        *("train", "--preset", "tiny", "--model", "dim=16", "depths=1,1", "decoder_depths=1,1", "--size", 32),
        *("--data", "own", "--root", lesions, "--batch-size", 2, "--epochs", 1, "--no-estimate"),
        *("--cache-dir", tmp_path / "cache", "--out", run),
    )
    assert (code, err) == (0, "")
    manifest = Manifest.load(run / "manifest.json")
    assert (manifest.dataset, manifest.name) == ("own", split)
    assert tuple(len(manifest.parts[part]) for part in ("train", "val", "test")) == sizes
    code, _, err = cli(
        *("evaluate", "--weights", run, "--data", "own", "--root", lesions, "--truth-size", 32, "--json", scores),
    )
    assert (code, err) == (0, "")
    report = json.loads(scores.read_text())
    assert report["n"] == sizes[2]
    assert report["protocol"]["same_split_as_training"]


def test_a_registered_data_set_needs_its_folder_and_parts_for_an_official_split(lesions: Path) -> None:
    skinlesion.register_dataset("own", lambda root: own_samples(root, (None,)))
    folders = {"images": lesions / "images", "masks": lesions / "masks"}
    with pytest.raises(SkinlesionError, match="'own' is read from --root DIR; with --images and --masks"):
        DataSource(**folders).find("own")
    with pytest.raises(SkinlesionError, match="Unknown dataset 'onw'"):
        DataSource(**folders).find("onw")
    with pytest.raises(SkinlesionError, match="'official' of own needs Samples with part='train'"):
        make_manifest(find_samples(lesions, "own"), "own", "official")


def test_the_mask_flags_hold_for_a_registered_data_set_too(lesions: Path) -> None:
    own = MaskRules(invert=True)
    skinlesion.register_dataset("own", lambda root: [replace(each, rules=own) for each in own_samples(root, (None,))])
    assert {sample.rules for sample in find_samples(lesions, "own")} == {own}
    asked = MaskRules(threshold=128, resize=True)
    assert {sample.rules for sample in find_samples(lesions, "own", rules=asked)} == {asked}


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ({"id": 7}, "an invalid Sample: number 2 needs nonempty text as its id, not 7."),
        ({"id": ""}, "an invalid Sample: number 2 needs nonempty text as its id, not ''."),
        ({"image": None}, "an invalid Sample: 'b' needs a pathlib.Path as its image, not None."),
        ({"image": "b.png"}, "an invalid Sample: 'b' needs a pathlib.Path as its image, not 'b.png'."),
        ({"mask": "b.png"}, "an invalid Sample: 'b' needs a pathlib.Path or None as its mask, not 'b.png'."),
        ({"part": "training"}, "an invalid Sample: 'b' needs train, val, test or None as its part, not 'training'."),
        ({"part": ["train"]}, "an invalid Sample: 'b' needs train, val, test or None as its part, not ['train']."),
        ({"group": 5}, "an invalid Sample: 'b' needs text or None as its group, not 5."),
        ({"rules": None}, "an invalid Sample: 'b' needs MaskRules as its rules, not None."),
        ({"id": "a"}, "two Samples with the id 'a', for a.png and b.png: give each one an id of its own."),
        ({"id": "a", "part": "val"}, "two Samples with the id 'a', for a.png and b.png: give each one an id"),
    ],
)
def test_samples_that_cannot_be_used_are_named(second: dict[str, object], message: str, tmp_path: Path) -> None:
    first = Sample("a", Path("a.png"), None, "train")
    fields = {"id": "b", "image": Path("b.png"), "mask": Path("b_mask.png"), **second}
    skinlesion.register_dataset("own", lambda root: [first, Sample(**fields), Sample(9, None, 9)])  # type: ignore[arg-type]
    with pytest.raises(SkinlesionError, match=re.escape(message)) as error:
        find_samples(tmp_path, "own")
    assert str(error.value).startswith("The data set 'own' ")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no_such_module_anywhere:Net", "cannot be imported"),
        ("math:Net", "no network 'Net'"),
        ("math:pi", "no network 'pi'"),
        ("broken_module:Net", "ZeroDivisionError"),
    ],
)
def test_a_module_that_cannot_be_used_is_one_sentence(
    name: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_module.py").write_text("1 / 0\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    with pytest.raises(SkinlesionError, match=message):
        extend.import_model(name)


def test_a_name_in_a_file_imports_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "trap.py").write_text("raise SystemExit('imported')\n")
    monkeypatch.chdir(tmp_path)
    skinlesion.register_model("plain", Plain)
    model = create_model("plain")
    model.name = "trap:Plain"  # type: ignore[assignment]
    save_checkpoint(tmp_path / "trap.safetensors", model, CARD)
    with pytest.raises(SkinlesionError, match="SKINLESION_PLUGINS=trap"):
        load_checkpoint(tmp_path / "trap.safetensors")
    assert "trap" not in sys.modules


LISTED = """
import torch
from torch import nn
class Net(nn.Module):
    def __init__(self, dim: int = 4):
        super().__init__()
        self.first, self.last = nn.Conv2d(3, dim, 1), nn.Conv2d(dim, 1, 1)
    def forward(self, image):
        return self.last(self.first(image))
def make():
    raise SystemExit("called")
"""


@pytest.fixture
def listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A module that defines a network and registers nothing, in the list of plugins."""
    (tmp_path / "listed_nets.py").write_text(LISTED)
    (tmp_path / "other_nets.py").touch()  # imported if this is the first test of the process that needs a plugin
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv(PLUGINS, "other_nets, listed_nets")
    yield "listed_nets"
    for name in ("listed_nets", "other_nets"):
        sys.modules.pop(name, None)


def test_a_network_named_by_its_class_is_found_again_if_its_module_is_listed(listed: str, tmp_path: Path) -> None:
    extend.import_model(f"{listed}:Net")
    save_checkpoint(tmp_path / "net.safetensors", create_model(f"{listed}:Net", dim=3), CARD)
    del REGISTRY[f"{listed}:Net"]  # a new process, which nobody told the name
    model, card = load_checkpoint(tmp_path / "net.safetensors")
    assert (card["model"]["name"], model.first.out_channels) == (f"{listed}:Net", 3)


@pytest.mark.parametrize("attribute", ["make", "nothing", "nn", "__name__"])
def test_a_name_in_a_file_calls_no_function_of_a_listed_module(listed: str, attribute: str) -> None:
    with pytest.raises(SkinlesionError, match=rf"no torch.nn.Module subclass '{attribute}'"):
        create_model(f"{listed}:{attribute}")


class Tupled(Plain):
    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor]:
        return (self.conv(image),)


def test_training_a_network_that_returns_no_tensor_says_so(tmp_path: Path) -> None:

    skinlesion.register_model("tupled", Tupled)
    module = SegmentationModule(create_model("tupled"), TrainConfig(preset="tupled", w_cfd=0, w_ifd=0, out=tmp_path))
    batch = {"image": torch.zeros(2, 3, 8, 8), "mask": torch.zeros(2, 1, 8, 8)}
    with pytest.raises(SkinlesionError, match=r"must return logits of shape \(2, 1, 8, 8\).*it returned tuple"):
        module.losses(batch)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epoch = 3", r"Unknown training option epoch \(did you mean epochs\?\)"),
        ("batch-size = 3", r"did you mean batch_size"),
        ("zzz = 3", "Unknown training option zzz;"),
        ("accelerator = 'cpu'", r"Unknown training option accelerator \(it is now called device\)"),
        ("accelerator = ['gpu']", r"Unknown training option accelerator \(it is now called device\)"),
        ("epochs = 'three'", "epochs"),
        ("epochs = ", "not a TOML file"),
        ("epochs = 3\nepochs = 4", "not a TOML file"),
        ("model = 3", "model"),
        ("[model]\ndim = [[1]]", "model.dim must be"),
        ("[model]\ndim = 1979-05-27", "model.dim must be"),
        ("\x00", "not a TOML file"),
        ("a = " + "[" * 50_000, "not a TOML file"),
        ("# " + "x" * 200_000, "too large"),
    ],
)
def test_a_config_file_that_cannot_be_used(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text(text)
    with pytest.raises(SkinlesionError, match=message) as error:
        read_toml(path, TrainConfig())
    assert "run.toml" in str(error.value)


def test_a_config_file_changes_what_it_says_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text("epochs = 3\nlr = 0.5\n[model]\ndim = 24\nse = false\ndepths = [1, 1]\n")
    found = read_toml(path, TrainConfig(seed=9))
    assert (found.epochs, found.lr, found.seed, found.size) == (3, 0.5, 9, TrainConfig.size)
    assert found.model_options() == {"dim": 24, "se": False, "depths": (1, 1)}
    with pytest.raises(SkinlesionError, match="cannot be read"):
        read_toml(tmp_path / "none.toml", TrainConfig())
