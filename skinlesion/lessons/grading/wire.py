"""Results of a student's function as JSON: numbers only, so that reading them runs nothing.

Pickle would run what a student's code has put into it.
"""

import base64
import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

_DTYPES = {str(each).removeprefix("torch."): each for each in (
    torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.float16, torch.bfloat16,
    torch.float32, torch.float64, torch.complex64, torch.complex128,
)}  # fmt: skip


class Foreign:
    """Stands for a result of a type that no exercise asks for."""

    def __init__(self, description: str) -> None:
        self.description = description

    def __repr__(self) -> str:
        return self.description


def encode(value: Any) -> Any:
    """A value as what JSON can hold; see `decode`."""
    if value is None or type(value) in (bool, int, str):
        return value
    if isinstance(value, float | np.floating):
        return {"float": float(value).hex()}
    if isinstance(value, np.bool_ | np.integer):
        return value.item()
    if isinstance(value, Tensor):
        return {"tensor": str(value.dtype).removeprefix("torch."), "shape": list(value.shape), "data": _bytes(value)}
    if isinstance(value, np.ndarray) and value.dtype.kind in "biufc":
        data = base64.b64encode(np.ascontiguousarray(value).tobytes()).decode()
        return {"array": value.dtype.str, "shape": list(value.shape), "data": data}
    if isinstance(value, list | tuple):
        return {"tuple" if isinstance(value, tuple) else "list": [encode(each) for each in value]}
    if isinstance(value, dict):
        return {"dict": [[encode(key), encode(each)] for key, each in value.items()]}
    return {"foreign": type(value).__name__[:80]}


def decode(value: Any) -> Any:
    """What `encode` was given; a type that it doesn't know comes back as `Foreign`.

    Raises:
        ValueError: this is not what `encode` makes.
    """
    if value is None or isinstance(value, bool | int | str):
        return value
    try:
        if "float" in value:
            return float.fromhex(value["float"])
        if "tensor" in value:
            return _tensor(value)
        if "array" in value:
            data = np.frombuffer(base64.b64decode(value["data"]), dtype=np.dtype(value["array"]))
            return data.reshape(value["shape"]).copy()
        if "dict" in value:
            return {decode(key): decode(each) for key, each in value["dict"]}
        if "foreign" in value:
            return Foreign(str(value["foreign"]))
        kind = "tuple" if "tuple" in value else "list"
        parts = [decode(each) for each in value[kind]]
        return tuple(parts) if kind == "tuple" else parts
    except (KeyError, TypeError, ValueError, RuntimeError, RecursionError) as error:
        raise ValueError("not an encoded result") from error


def _bytes(value: Tensor) -> str:
    plain = value.detach().cpu().resolve_conj().resolve_neg().contiguous()
    return base64.b64encode(plain.reshape(-1).view(torch.uint8).numpy().tobytes()).decode()


def _tensor(value: dict[str, Any]) -> Tensor:
    shape, dtype = [int(n) for n in value["shape"]], _DTYPES[value["tensor"]]
    if not math.prod(shape):
        return torch.empty(shape, dtype=dtype)
    data = bytearray(base64.b64decode(value["data"]))
    return torch.frombuffer(data, dtype=dtype).reshape(shape)
