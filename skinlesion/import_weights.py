"""Published weights of the ancestors, VM-UNet's and VMamba's, as checkpoints of this package.

VM-UNet (https://github.com/JCruan519/VM-UNet) saves a state dictionary whose names begin with "vmunet.". VMamba
(https://github.com/MzeroMiko/VMamba) keeps one under the key "model", of an encoder alone, deeper in its third stage;
VM-UNet starts its encoder from it and copies encoder stage i into decoder stage 3 - i where names and shapes fit, and
so does this module. Names that both share with the package keep their values; only the four directions, which they
stack in A_logs (4 D, N) and Ds (4 D,), are split.
"""

import pickle
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from skinlesion.checkpoint import MAX_WEIGHTS, save_checkpoint
from skinlesion.errors import SkinlesionError
from skinlesion.zoo import create_model

_WRAPPERS = ("model", "model_state_dict", "state_dict")
_NAMES = (
    (r"patch_embed\.proj\.", "embedding.projection."),
    (r"patch_embed\.norm\.", "embedding.norm."),
    (r"layers\.(\d+)\.blocks\.(\d+)\.", r"encoder.\1.\2."),
    (r"layers\.(\d+)\.downsample\.", r"merging.\1."),
    (r"layers_up\.(\d+)\.blocks\.(\d+)\.", r"decoder.\1.\2."),
    (r"final_up\.expand\.", "final_expanding.expansion."),
    (r"final_up\.norm\.", "final_expanding.norm."),
    (r"final_conv\.", "head."),
)


@dataclass(frozen=True)
class ImportReport:
    """What happened to every tensor.

    Attributes:
        used: name in the network -> name in the file.
        unused: names in the file that the network has no place for.
        missing: names in the network that the file lacks; they keep their random values.
    """

    used: dict[str, str]
    unused: tuple[str, ...]
    missing: tuple[str, ...]

    def __str__(self) -> str:
        lines = [f"{len(self.used)} tensors used, {len(self.unused)} unused, {len(self.missing)} missing."]
        lines += [f"used     {source} -> {target}" for target, source in self.used.items()]
        lines += [f"unused   {name}" for name in self.unused]
        lines += [f"missing  {name} (keeps its random value)" for name in self.missing]
        return "\n".join(lines)


def import_weights(path: str | Path, out: str | Path, *, preset: str = "vmunet", seed: int = 0) -> ImportReport:
    """Convert a published checkpoint to this package's format.

    The network's sizes follow the file: width, states and, where it has a decoder, depths.

    Args:
        path: a .pth file of VM-UNet or VMamba; only tensors and plain values are read, nothing is unpickled.
        out: the .safetensors file to write.
        preset: "vmunet", or "paper" for the paper's network, whose SE, CMN and CRA then start at random.
        seed: for initializing the weights that the file lacks.

    Returns:
        Every tensor used, unused and missing.

    Raises:
        SkinlesionError: the file cannot be read, holds something other than tensors, has none of the expected names or
            a tensor of another shape; nothing is written.
    """
    if preset not in ("vmunet", "paper"):
        raise SkinlesionError(f"Published weights fit vmunet and paper, not {preset!r}.")
    path = Path(path)
    tensors = read_published(path)
    renamed = {current_name(name): (name, tensor) for name, tensor in tensors.items()}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = create_model(preset, **_sizes(renamed, path))
    report = _fill(model, renamed, path)
    card = {
        "preprocessing": {"size": [256, 256], "normalize": "minmax255"},  # what VM-UNet trains with
        "threshold": 0.5,
        "command": f"skinlesion import-weights {path.name} --preset {preset}",
        "imported": {"used": len(report.used), "unused": len(report.unused), "missing": len(report.missing)},
    }
    save_checkpoint(out, model, card)
    return report


def read_published(path: Path) -> dict[str, Tensor]:
    """The state dictionary in a .pth file.

    Raises:
        SkinlesionError: the file is missing, damaged, too large, or holds something other than tensors.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about unusual pickles; what cannot be read raises
            content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise SkinlesionError(f"{path} doesn't exist.") from error
    except pickle.UnpicklingError as error:
        raise SkinlesionError(
            f"{path} can't be read safely: it is damaged, or holds something other than tensors, which could run code."
        ) from error
    except (OSError, EOFError, RuntimeError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise SkinlesionError(f"{path} can't be read: it is damaged, or not a PyTorch checkpoint.") from error
    for key in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not all(isinstance(name, str) for name in content):
        raise SkinlesionError(f"{path} holds no state dictionary (a {type(content).__name__}).")
    tensors = {name: value for name, value in content.items() if isinstance(value, Tensor)}
    total = 0
    for name, tensor in tensors.items():
        total += tensor.numel()
        if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes() or total > MAX_WEIGHTS:
            raise SkinlesionError(
                f"{path} was rejected: {name} declares {tensor.numel():,} values, more than are stored or allowed."
            )
    return tensors


def current_name(name: str) -> str:
    """The package's name of a published tensor; an unknown name comes back as it is."""
    name = name.removeprefix("module.").removeprefix("vmunet.")
    for old, new in _NAMES:
        name, count = re.subn(f"^{old}", new, name)
        if count:
            break
    name = re.sub(
        r"^layers_up\.(\d+)\.upsample\.(expand|norm)\.",
        lambda m: f"expanding.{int(m[1]) - 1}.{'expansion' if m[2] == 'expand' else 'norm'}.",
        name,
    )
    return name.replace(".self_attention.", ".ss2d.").replace(".ln_1.", ".norm1.")


def _sizes(renamed: dict[str, tuple[str, Tensor]], path: Path) -> dict[str, Any]:
    """Options of the network that the file decides."""
    embedding = renamed.get("embedding.projection.weight", ("", torch.empty(0)))[1]
    states = renamed.get("encoder.0.0.ss2d.A_logs", ("", torch.empty(0)))[1]
    if embedding.dim() != 4 or states.dim() != 2:
        raise SkinlesionError(
            f"{path} has none of the names that VM-UNet and VMamba use (patch_embed.proj.weight, "
            "layers.0.blocks.0.self_attention.A_logs, ...); is it a checkpoint of another network?"
        )
    sizes: dict[str, Any] = {"dim": embedding.shape[0], "d_state": states.shape[1]}
    if any(name.startswith("decoder.") for name in renamed):
        sizes["depths"], sizes["decoder_depths"] = _depths(renamed, "encoder"), _depths(renamed, "decoder")
    return sizes


def _depths(renamed: Mapping[str, object], part: str) -> tuple[int, ...]:
    blocks = {tuple(map(int, m.groups())) for name in renamed if (m := re.match(rf"{part}\.(\d+)\.(\d+)\.", name))}
    stages = sorted({stage for stage, _ in blocks})
    return tuple(sum(stage == block[0] for block in blocks) for stage in stages)


@torch.no_grad()
def _fill(model: nn.Module, renamed: dict[str, tuple[str, Tensor]], path: Path) -> ImportReport:
    has_decoder = any(name.startswith("decoder.") for name in renamed)
    used: dict[str, str] = {}
    for target, value in model.state_dict().items():
        source = target
        copied = not has_decoder and target.startswith("decoder.")
        if copied:  # as VM-UNet does: decoder stage 3 - i from encoder stage i
            source = re.sub(r"^decoder\.(\d+)", lambda m: f"encoder.{len(model.decoder) - 1 - int(m[1])}", target)  # type: ignore[arg-type]
        if source not in renamed:
            continue
        name, tensor = renamed[source]
        if target.endswith(("ss2d.A_logs", "ss2d.Ds")) and tensor.numel() == value.numel():
            tensor = tensor.reshape(value.shape)  # (4 D, N) -> (4, D, N), (4 D,) -> (4, D)
        if tensor.shape != value.shape:
            raise SkinlesionError(
                f"{path} doesn't fit: {name} is {tuple(tensor.shape)} in the file and {tuple(value.shape)} in the "
                "network."
            )
        value.copy_(tensor)
        used[target] = name
    sources = set(used.values())
    unused = tuple(name for name, _ in renamed.values() if name not in sources)
    missing = tuple(name for name in model.state_dict() if name not in used)
    return ImportReport(used, unused, missing)
