r"""The mean of the weights of several checkpoints of one run (model soups, https://arxiv.org/abs/2203.05482).

.. math:: \bar\theta = \frac1n \sum_i \theta_i

Late checkpoints of a run usually lie in the same basin of the loss, and their mean is often better than any of them.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from skinlesion.checkpoint import load_checkpoint, save_checkpoint
from skinlesion.errors import SkinlesionError
from skinlesion.text import printable

_PREFIXES = ("average.model.", "model.")  # of weights in a training checkpoint: the moving average if there is one

_OF_ONE = (
    "metrics",
    "training",
    "evaluations",
    "temperature",
    "domain",
    "calibration",
    "clean",
)  # not true of the mean


def average_checkpoints(paths: Sequence[str | Path], out: str | Path) -> None:
    """Write the mean of several checkpoints, with a card based on the first one's.

    Args:
        paths: names, .safetensors files and run folders, as in `load_checkpoint`, and RUN/checkpoints/last.ckpt for a
            run's last epoch.
        out: the new .safetensors file.

    Raises:
        SkinlesionError: there are fewer than two, one cannot be read, or their networks differ.
    """
    if len(paths) < 2:
        raise SkinlesionError("Give at least two checkpoints to average.")
    loaded = [_load(Path(path), str(path)) for path in paths]
    (model, card), states = loaded[0], [each.state_dict() for each, _ in loaded]
    for path, state in zip(paths[1:], states[1:], strict=True):
        if {k: v.shape for k, v in state.items()} != {k: v.shape for k, v in states[0].items()}:
            raise SkinlesionError(f"{printable(path)} holds a different network from {printable(paths[0])}.")
    model.load_state_dict({name: _mean([state[name] for state in states]) for name in states[0]})
    names = [Path(path).name for path in paths]
    kept = {name: value for name, value in card.items() if name not in _OF_ONE}
    save_checkpoint(out, model, {**kept, "command": f"skinlesion average {' '.join(names)}", "origin": card})


def _load(path: Path, name: str) -> tuple[nn.Module, dict[str, Any]]:
    if path.suffix != ".ckpt":
        return load_checkpoint(name)
    model, card = load_checkpoint(path.parents[1])
    from skinlesion.training.checkpoint_io import SafeCheckpointIO  # Lightning takes seconds to import

    wrong = SkinlesionError(f"{printable(path)} is not a training checkpoint of the run whose folder it is in.")
    try:
        state = SafeCheckpointIO().load_checkpoint(path)["state_dict"]
        prefix = next(each for each in _PREFIXES if any(key.startswith(each) for key in state))
        model.load_state_dict({k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)})
    except (RuntimeError, KeyError, TypeError, AttributeError, StopIteration) as error:
        raise wrong from error
    return model, card


def _mean(values: list[Tensor]) -> Tensor:
    """The mean in double precision; integer counters keep the first checkpoint's value."""
    if not values[0].is_floating_point():
        return values[0]
    return torch.stack([value.double() for value in values]).mean(0).to(values[0].dtype)
