"""LayerNorm over the channels of channels-last tensors, with a fast path for narrow ones in training."""

import torch
from torch import Tensor, nn

NARROW, MANY = 16, 4096  # at most so many channels, and at least so many rows


class LayerNorm(nn.LayerNorm):
    """`torch.nn.LayerNorm` over the last axis, with the same parameters.

    PyTorch's CPU kernel spends most of its time between rows. For many narrow rows in float32, as in the map at the
    image's full size, training uses a dedicated kernel; everything else uses `torch.nn.LayerNorm`.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(..., C) -> (..., C)."""
        if torch.compiler.is_compiling() or not self._is_narrow(x):
            return super().forward(x)
        try:
            from skinlesion.scan.layer_norm import NarrowLayerNorm  # Numba is imported when it is first used
        except ImportError:
            return super().forward(x)
        rows = x.reshape(-1, x.shape[-1]).contiguous()  # (R, C)
        return NarrowLayerNorm.apply(rows, self.weight, self.bias, self.eps).view(x.shape)

    def _is_narrow(self, x: Tensor) -> bool:
        """Whether the kernel fits: eager float32 training on the CPU, without any other kind of differentiation."""
        return (
            torch.is_grad_enabled()
            and x.requires_grad
            and self.weight.requires_grad
            and x.shape[-1] <= NARROW
            and x.numel() >= MANY * x.shape[-1]
            and type(x) is Tensor
            and x.is_cpu
            and x.dtype == self.weight.dtype == torch.float32
            and not torch.is_autocast_enabled("cpu")
            and not torch._C._are_functorch_transforms_active()
            and torch.autograd.forward_ad._current_level < 0
        )
