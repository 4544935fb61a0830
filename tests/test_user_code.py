"""Mistakes in somebody's own network, loss, data set or scan engine: one sentence each, before a run folder is made."""

import errno
import re
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import skinlesion
from skinlesion import extend
from skinlesion.data.synthetic import write_dataset
from skinlesion.model import set_engine
from skinlesion.scan import reference
from skinlesion.training.config import TrainConfig
from skinlesion.training.module import SegmentationModule
from skinlesion.training.trial import try_user_code
from skinlesion.user_code import named_errors
from skinlesion.zoo import create_model

pytestmark = pytest.mark.usefixtures("registries")

FAULTY = r"""
import warnings
import skinlesion
import torch
from torch import nn
class Odd(nn.Module):
    def __init__(self, dim: int = 4):
        super().__init__()
        raise ValueError("dim must be odd")
class Forgets(nn.Module):
    def __init__(self, dim: int = 4):
        super().__init__()
        self.first = nn.Conv2d(3, 1, 1)
    def forward(self, image):
        return self.second(image)
class Halves(nn.Module):
    def __init__(self, dim: int = 4):
        super().__init__()
        self.first = nn.Conv2d(3, 1, 1, stride=2)
    def forward(self, image):
        return self.first(image)
def nothing():
    return None
class Small(nn.Module):
    def __init__(self, dim: int = 4):
        super().__init__()
        self.first, self.seen = nn.Conv2d(3, 1, 1), None
    def forward(self, image):
        return self.first(image)
class Deep(Small):
    def forward(self, image):
        return (self.first(image),) * 2 if self.training else self.first(image)
class Trains(Small):
    def forward(self, image):
        return self.second(image) if self.training else self.first(image)
class Single(Small):
    def forward(self, image):
        return self.first(image).view(1, 1, *image.shape[2:])
class Cut(Small):
    def forward(self, image):
        return self.first(image).detach()
class InPlace(Small):
    def forward(self, image):
        found = self.first(image).exp()
        found.mul_(2)
        return found
class Backward(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x + 1
    @staticmethod
    def backward(ctx, dy):
        return dy.no_such_thing
class Derived(Small):
    def forward(self, image):
        return Backward.apply(self.first(image))
class Endless(Small):
    def forward(self, image):
        return self.first(image) / 0
class Refuses(Small):
    def forward(self, image):
        raise Exception("sizes must be\n\teven")
class Empty(Small):
    def forward(self, image):
        return next(iter(()))
class Imports(Small):
    def forward(self, image):
        import no_such_package
class Wrongly(Small):
    def forward(self, image):
        return skinlesion.create_model("tiny", widht=3)
class Lazy(Small):
    def __init__(self, dim: int = 4):
        super().__init__()
        self.first = nn.LazyConv2d(1, 1)
class Configured(Small):
    def __init__(self, dim: int = 4):
        super().__init__()
        self.config = {"dim": dim}
def scripted():
    warnings.simplefilter("ignore")  # TorchScript is deprecated
    return torch.jit.script(nn.Conv2d(3, 1, 1))
class Mutable(Small):
    def __init__(self, options: dict = {}):
        super().__init__()
class Reserved(Small):
    def __init__(self, override: int = 1):
        super().__init__()
skinlesion.register_loss("per-pixel", lambda logits, mask: (logits - mask) ** 2)
skinlesion.register_loss("no-loss", lambda logits, mask: logits.no_such_thing)
skinlesion.register_loss("hard", lambda logits, mask: ((logits > 0).float() - mask).abs().mean())
skinlesion.register_loss("plain-number", lambda logits, mask: (logits - mask).abs().mean().item())
skinlesion.register_loss("whole", lambda logits, mask: (logits > 0).sum())
skinlesion.register_loss("complex", lambda logits, mask: (logits + 1j).mean())
skinlesion.register_loss("one-argument", lambda logits: logits.mean())
skinlesion.register_dataset("no-data", lambda root: [1 / 0])
skinlesion.register_dataset("no-table", lambda root: open(root / "labels.csv"))
skinlesion.register_dataset("none", lambda root: None)
skinlesion.register_engine("cut", lambda x, *others: x.detach())
skinlesion.register_engine("short", lambda x, *others: x[:, :3])
skinlesion.register_engine("no-engine", lambda x, *others: x.no_such_thing)
"""


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--preset faulty:Odd", r"'faulty:Odd' cannot be built \(faulty\.py, line 9\): ValueError: dim must be odd\."),
        ("--preset faulty:Forgets", r"'faulty:Forgets' failed \(faulty\.py, line 15\): AttributeError: .*'second'\."),
        ("--preset faulty:Halves", r"'faulty:Halves' must return logits of shape \(2, 1, 32, 32\).*\(2, 1, 16, 16\)"),
        ("--preset faulty:nothing", "must return a plain torch.nn.Module; it returned NoneType"),
        ("--preset faulty:scripted", "must return a plain torch.nn.Module; it returned RecursiveScriptModule"),
        ("--preset faulty:Deep", "'faulty:Deep' must return logits .*it returned tuple"),
        ("--preset faulty:Trains", r"'faulty:Trains' failed \(faulty\.py, line \d+\): AttributeError"),
        ("--preset faulty:Single", r"'faulty:Single' failed \(faulty\.py, line \d+\): RuntimeError: shape"),
        ("--preset faulty:Cut", "logits of the network 'faulty:Cut' have no gradient"),
        ("--preset faulty:InPlace", "with network 'faulty:InPlace', failed: RuntimeError: .*inplace"),
        ("--preset faulty:Derived", r"with network 'faulty:Derived', failed \(faulty\.py, line \d+\): AttributeError"),
        ("--preset faulty:Endless", "with network 'faulty:Endless', gave the loss (nan|inf): it must be finite"),
        ("--preset faulty:Refuses", r"failed \(faulty\.py, line \d+\): Exception: sizes must be even\."),
        ("--preset faulty:Empty", r"failed \(faulty\.py, line \d+\): StopIteration\."),
        ("--preset faulty:Imports", r"failed \(faulty\.py, line \d+\): ModuleNotFoundError: No module named"),
        ("--preset faulty:Wrongly", r"failed \(faulty\.py, line \d+\): Unknown model option widht"),
        ("--preset faulty:Lazy", r"has a layer without a size: first\.weight; don't use lazy"),
        ("--preset faulty:Configured", "has an attribute 'config', which skinlesion sets"),
        ("--preset faulty:Mutable", "options of 'faulty:Mutable' cannot be stored in a checkpoint: mutable default"),
        ("--preset faulty:Reserved", "has an option 'override', a name that skinlesion uses"),
        ("--loss per-pixel", r"a scalar tensor of floats; it returned torch\.float32 of shape \(2, 1, 32, 32\)"),
        ("--loss no-loss", r"The loss 'no-loss' failed \(faulty\.py, line \d+\): AttributeError"),
        ("--loss hard", "The loss 'hard' has no gradient: compute it from the logits"),
        ("--loss plain-number", "must return a scalar tensor of floats; it returned float"),
        ("--loss whole", r"must return a scalar tensor of floats; it returned torch\.int64"),
        ("--loss complex", r"must return a scalar tensor of floats; it returned torch\.complex64"),
        ("--loss one-argument", r"The loss 'one-argument' failed: TypeError: .*takes 1 positional argument"),
        ("--data no-data", r"The data set 'no-data' failed \(faulty\.py, line \d+\): ZeroDivisionError"),
        ("--data no-table", r"The data set 'no-table' failed \(faulty\.py, line \d+\): FileNotFoundError.*labels\.csv"),
        ("--data none", "The data set 'none' failed: TypeError: 'NoneType' object is not iterable"),
        ("--engine short", r"The scan engine 'short' must return \(2, 64, 32\); it returned \(2, 3, 32\)"),
        ("--engine no-engine", r"The scan engine 'no-engine' failed \(faulty\.py, line \d+\): AttributeError"),
        ("--engine cut", "The scan engine 'cut' returned a result without a gradient"),
    ],
)
def test_faulty_code_is_one_sentence_and_leaves_no_run_folder(
    options: str, message: str, cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "faulty.py").write_text(FAULTY)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "faulty", raising=False)
    extend.import_plugin("faulty")
    write_dataset(tmp_path / "lesions", n=6, seed=5, size=32)
    words = "train --preset tiny --w-cfd 0 --w-ifd 0 --data folder --root lesions --size 32 --batch-size 2 --out run"
    code, _, err = cli(*words.split(), *options.split())
    assert code == 2
    assert re.search(message, err), err
    assert err.count("\n") == 1
    assert not (tmp_path / "run").exists()


class Draws(nn.Module):
    """A network that needs random numbers to be built, to train and to validate, and can't be copied."""

    def __init__(self, dim: int = 4) -> None:
        super().__init__()
        self.conv = nn.utils.weight_norm(nn.Conv2d(3, 1, 1))
        self.functions = nn.functional

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.conv(image) + torch.rand(())


@pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm` is deprecated")
def test_the_trial_leaves_no_trace_and_needs_no_copy(tmp_path: Path) -> None:
    skinlesion.register_model("draws", Draws)
    model = create_model("draws")
    module = SegmentationModule(model, TrainConfig(preset="draws", size=16, w_cfd=0, w_ifd=0, out=tmp_path))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    noise = torch.get_rng_state()
    try_user_code(module, torch.device("cpu"))
    assert torch.equal(torch.get_rng_state(), noise)
    assert module.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(value.grad is None for value in model.parameters())


@pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm` is deprecated")
def test_a_network_that_cannot_be_copied_trains_without_an_average(
    cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    skinlesion.register_model("draws", Draws)
    write_dataset(tmp_path / "lesions", n=6, seed=5, size=32)
    line = "train --preset draws --w-cfd 0 --w-ifd 0 --data folder --size 32 --batch-size 2 --epochs 1 --root lesions"
    words = [*line.split(), "--out"]
    code, _, err = cli(*words, tmp_path / "averaged", "--ema", "0.9")
    assert code == 2
    assert "The network 'draws' cannot be copied, which --ema needs" in err
    assert not (tmp_path / "averaged").exists()
    code, out, err = cli(*words, tmp_path / "run")
    assert (code, err) == (0, "")
    assert "Estimated time" in out
    assert (tmp_path / "run" / "best.safetensors").exists()


def test_the_trial_takes_no_channels_from_distillation(tmp_path: Path) -> None:
    """Its generator must be in the same state in every process."""
    skinlesion.register_engine("same", lambda *arguments: reference.cross_selective_scan(*arguments))
    config = TrainConfig(preset="tiny", size=32, engine="same", w_cfd=0.1, w_ifd=0.1, data="synthetic", out=tmp_path)
    model = create_model("tiny")
    set_engine(model, "same")
    module = SegmentationModule(model, config)
    draws = module.distillation.generator.get_state()
    try_user_code(module, torch.device("cpu"))
    assert torch.equal(module.distillation.generator.get_state(), draws)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("MPS backend out of memory"),
        RuntimeError("not enough memory: 1"),
        NotImplementedError("The operator 'aten::x' is not currently implemented for the MPS device"),
        OSError(errno.ENOSPC, "No space left on device"),
        BrokenPipeError(),
    ],
    ids=repr,
)
def test_what_the_machine_lacks_is_not_called_a_mistake_of_the_network(error: Exception) -> None:
    with pytest.raises(type(error)) as found, named_errors("The network 'mine' failed"):
        raise error
    assert found.value is error
