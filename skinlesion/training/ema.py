"""A running average of the weights, which is what a run with `--ema` validates and ships."""

import copy

import torch
from torch import Tensor, nn


class WeightAverage(nn.Module):
    """An exponential moving average of a model's weights and buffers (Polyak averaging).

    It is a module so that it is saved, restored and moved with the run; it is never trained.

    Args:
        model: what to average; copied.
        decay: share of the old average that each update keeps, in (0, 1). The first updates keep less,
            (1 + n) / (10 + n), so that a short run is not dominated by its first weights.
    """

    updates: Tensor

    def __init__(self, model: nn.Module, decay: float) -> None:
        super().__init__()
        self.model = copy.deepcopy(model).requires_grad_(False)
        self.decay = decay
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Move toward the weights of `model`; whole-number buffers are copied."""
        self.updates += 1
        n = int(self.updates)
        keep = min(self.decay, (1 + n) / (10 + n))
        current = model.state_dict()
        averages, values = [], []
        for name, average in self.model.state_dict().items():
            if average.is_floating_point():
                averages.append(average)
                values.append(current[name])
            else:
                average.copy_(current[name])
        torch._foreach_lerp_(averages, values, 1 - keep)
