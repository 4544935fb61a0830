"""A self-contained file: weights in safetensors, everything else as JSON in its header.

The JSON is called the *card*. Besides what the caller puts there (measured metrics, training command, seed, ...),
it says how to rebuild the model and how to prepare an image for it:

    {"format": 2, "version": "0.1.0",
     "model": {"name": "small", "config": {"dim": 32, ...}},
     "preprocessing": {"size": [160, 160], "normalize": "minmax"},
     "threshold": 0.5, "temperature": 1.6, "domain": {...}, "stored_bits": 16, "seed": 0,
     "data": {"dataset": ..., "split": ..., "manifest": <hash>}, "command": "skinlesion train ...", "metrics": {...}}

A checkpoint may come from anywhere, so loading trusts nothing: no pickle, a bounded header, and a model that may
take no more memory than the file justifies and must match it tensor by tensor.
"""

import hashlib
import json
import math
import struct
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from skinlesion import hub
from skinlesion.card import check_card
from skinlesion.errors import SkinlesionError
from skinlesion.files import replacing
from skinlesion.migration import FORMAT, READABLE, migrate
from skinlesion.text import printable
from skinlesion.version import __version__
from skinlesion.zoo import create_model

WEIGHTS = Path(__file__).parent / "weights"
DEFAULT_WEIGHTS = "general"  # what a command or the app takes where nobody chooses
MAX_HEADER_BYTES = 2_000_000  # the paper's network needs 60 kB
MAX_WEIGHTS = 250_000_000  # five times the paper's network
MAX_BLOCKS = 256
MAX_OPTION = 4096
_KEY = "skinlesion"
_MAX_SIDES = 8
_DTYPES = frozenset({"F64", "F32", "F16", "BF16", "I64", "I32", "I16", "I8", "U8", "BOOL"})


def save_checkpoint(path: str | Path, model: nn.Module, card: dict[str, Any], *, half: bool = False) -> None:
    """Write a model and its card to one file, whole or not at all.

    Args:
        path: the file; by convention it ends in .safetensors.
        model: from `create_model`; its `name` and `config` go into the card.
        card: JSON values; "preprocessing" with "size" [height, width] and "normalize" is required.
        half: store the weights in 16 bits (half the size, about three decimal digits); they are float32 again when
            loaded.

    Raises:
        SkinlesionError: the card is incomplete or can't be stored as JSON, a weight is not finite, or the file cannot
            be written.
    """
    card = {
        **card,
        "format": FORMAT,
        "version": __version__,
        "stored_bits": 16 if half else 32,
        "model": {"name": model.name, "config": model.config.to_dict()},  # type: ignore[union-attr, operator]
    }
    check_card(card, Path(path))
    try:
        text = json.dumps(card, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise SkinlesionError(f"The card of {path} cannot be stored as JSON: {error}.") from error
    tensors = {name: _stored(name, tensor, half) for name, tensor in model.state_dict().items()}
    with replacing(path) as temporary:
        temporary.write_bytes(save(tensors, metadata={_KEY: text}))


def load_checkpoint(name_or_path: str | Path) -> tuple[nn.Module, dict[str, Any]]:
    """Rebuild a model from its file.

    Args:
        name_or_path: as `find_weights`.

    Returns:
        The model in evaluation mode, float32, on the CPU; and its card.

    Raises:
        SkinlesionError: there is no such file, or it is damaged, not a checkpoint of this package, or does not fit
            the model that it names.
    """
    path = find_weights(name_or_path)
    header = _read_header(path)
    card = _card_of(header, path)
    header = migrate(header, card["format"])
    model = _build(header, card["model"]["name"], card["model"]["config"], path)
    try:
        tensors = migrate(load_file(path), card["format"])
    except (SafetensorError, OSError) as error:
        raise _damaged(path) from error
    for key, tensor in tensors.items():
        if not bool(torch.isfinite(tensor).all()):
            raise SkinlesionError(f"{path} cannot be used: the weight {key} is not finite. Use another checkpoint.")
    model.load_state_dict(tensors)  # copies into the model's own dtype, so that half becomes float32
    return model.eval(), card


def read_card(name_or_path: str | Path) -> dict[str, Any]:
    """The card of a checkpoint, without loading its weights; arguments and errors as `load_checkpoint`."""
    path = find_weights(name_or_path)
    return _card_of(_read_header(path), path)


def tensors_hash(path: str | Path) -> str:
    """SHA-256 of a checkpoint's tensors without the header, so that a card may be completed without changing it."""
    path = Path(path)
    _read_header(path)
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        file.seek(8 + length)
        return hashlib.file_digest(file, "sha256").hexdigest()


def available_weights() -> list[str]:
    """The names of the checkpoints that come with the package, sorted."""
    return sorted(path.stem for path in WEIGHTS.glob("*.safetensors"))


def find_weights(name_or_path: str | Path) -> Path:
    """The file behind a name.

    Args:
        name_or_path: a name of `available_weights`, a .safetensors file, a run folder, whose best.safetensors is
            taken, or "user/repo" on the Hugging Face hub.

    Raises:
        SkinlesionError: there is no such file, run folder or name; the message lists the names.
    """
    path = Path(name_or_path)
    if str(name_or_path) in available_weights():
        return WEIGHTS / f"{name_or_path}.safetensors"
    if path.is_dir():
        best = path / "best.safetensors"
        if best.is_file():
            return best
        raise SkinlesionError(f"{path} is a folder without best.safetensors; give a run folder or a .safetensors file.")
    if path.is_file():
        return path
    if isinstance(name_or_path, str) and hub.is_repository(name_or_path):
        return hub.download(name_or_path)
    names = ", ".join(available_weights()) or "none; train one with `skinlesion train`"
    raise SkinlesionError(
        f"Unknown weights {str(name_or_path)!r}: this is neither a file nor a run folder, and the names that come with "
        f"the package are: {names}."
    )


def _stored(name: str, tensor: Tensor, half: bool) -> Tensor:
    tensor = tensor.detach().cpu()
    if half and tensor.is_floating_point():
        tensor = tensor.half()
    if not bool(torch.isfinite(tensor).all()):
        what = "does not fit into 16 bits" if half else "is not finite"
        raise SkinlesionError(f"The weight {name} {what}; the checkpoint was not written.")
    return tensor.contiguous().clone()  # safetensors refuses tensors that share memory


def _damaged(path: Path) -> SkinlesionError:
    return SkinlesionError(f"{path} is damaged or incomplete. Download or copy it again.")


def _read_header(path: Path) -> dict[str, Any]:
    """The safetensors header, an object of tensor descriptions, after checks that cost no memory."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(8)
            if len(start) < 8:
                raise _damaged(path)
            (length,) = struct.unpack("<Q", start)
            if length > MAX_HEADER_BYTES:  # checked first: one header in 32 is of a length that begins with 0x80
                if start[:4] == b"PK\x03\x04" or start[:1] == b"\x80":
                    raise SkinlesionError(
                        f"{path} is a PyTorch pickle, which can run code when opened; give a .safetensors file that "
                        "skinlesion wrote."
                    )
                raise SkinlesionError(
                    f"{path} is not a skinlesion checkpoint: its header would be {length} bytes long."
                )
            raw = file.read(length)
    except OSError as error:
        raise SkinlesionError(f"Cannot read {path}: {error.strerror or error}.") from error
    if len(raw) < length:
        raise _damaged(path)
    try:
        header = json.loads(raw)
        described = [value for key, value in header.items() if key != "__metadata__"]
        end = max((entry["data_offsets"][1] for entry in described), default=0)
        if not all(type(n) is int and 0 <= n <= MAX_WEIGHTS for entry in described for n in entry["shape"]):
            raise ValueError("a shape is out of range")
        if not all(len(entry["shape"]) <= _MAX_SIDES and entry["dtype"] in _DTYPES for entry in described):
            raise ValueError("a tensor has an unsupported shape or dtype")
        if type(end) is not int or not 0 <= end < 1 << 62:
            raise ValueError("an offset is out of range")
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as error:
        raise SkinlesionError(f"{path} is not a safetensors file; give a checkpoint that skinlesion wrote.") from error
    if size < 8 + length + end:
        raise _damaged(path)
    return header


def _card_of(header: dict[str, Any], path: Path) -> dict[str, Any]:
    try:
        card = json.loads(header["__metadata__"][_KEY])
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise SkinlesionError(
            f"{path} is a safetensors file, but not one that skinlesion wrote: it has no card."
        ) from error
    if not isinstance(card, dict) or card.get("format") not in READABLE:
        found = printable(repr(card.get("format") if isinstance(card, dict) else None)[:40])
        raise SkinlesionError(
            f"{path} has checkpoint format {found}, but this version reads {READABLE[0]} to {READABLE[-1]}: update "
            "skinlesion."
        )
    check_card(card, path)
    return card


class Budget(TorchFunctionMode):
    """Counts the numbers that PyTorch allocates in a block, and stops it before it takes more than it may."""

    def __init__(self, numbers: int) -> None:
        super().__init__()
        self.left = numbers

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in (torch.empty, torch.zeros, torch.ones, torch.full, torch.rand, torch.randn):
            self.left -= func(*args, **{**kwargs, "device": "meta"}).numel()
            if self.left < 0:
                raise MemoryError("it would be larger than the file")
        return func(*args, **kwargs)


def _build(header: dict[str, Any], name: str, config: dict[str, Any], path: Path) -> nn.Module:
    """The randomly initialized model, if it has exactly the file's tensors. It cannot take more memory than a file of
    that size can fill, whatever its config says."""
    for option, value in config.items():
        if not plausible(value):
            raise SkinlesionError(f"{path} was rejected: its option {option} = {str(value)[:60]} is out of range.")
    found = {key: tuple(entry["shape"]) for key, entry in header.items() if key != "__metadata__"}
    total = sum(math.prod(shape) for shape in found.values())
    if total > MAX_WEIGHTS:
        raise SkinlesionError(f"{path} was rejected: it holds {total:,} weights (limit {MAX_WEIGHTS:,}).")
    try:
        # Building draws random weights, which must not change the caller's random numbers. Twice the file leaves
        # room for what is only needed while building.
        with torch.random.fork_rng(devices=[]), Budget(2 * total + 1_000_000):
            model = create_model(name, **config)
    except SkinlesionError as error:
        raise SkinlesionError(f"{path} cannot be used: {error}") from error
    except Exception as error:  # whatever a config that nobody tested makes a constructor raise
        raise SkinlesionError(f"{path} was rejected: its config can't build a {name!r} ({error}).") from error
    needed = {key: tuple(tensor.shape) for key, tensor in model.state_dict().items()}
    for key in sorted(needed.keys() | found.keys()):
        if found.get(key) != needed.get(key):
            raise SkinlesionError(
                f"{path} does not fit its model {name!r}: the weight {key} is {_shape(found.get(key))} in the file and "
                f"{_shape(needed.get(key))} in the model. It was written for another architecture or version."
            )
    return model


def plausible(value: Any) -> bool:
    """Whether this could be a model's option: a boolean, a name, a small number, or the blocks of each stage."""
    if isinstance(value, list):
        return all(type(n) is int and n >= 0 for n in value) and sum(value) <= MAX_BLOCKS
    if isinstance(value, int | float):
        return abs(value) <= MAX_OPTION  # False for NaN
    return value is None or isinstance(value, str)


def _shape(shape: tuple[int, ...] | None) -> str:
    return "missing" if shape is None else " x ".join(map(str, shape)) or "a number"
