"""What a network costs: parameters and operations, with and without the scan.

Counters that look at layers only (thop and its kin) see `nn.Linear` and `nn.Conv2d`. They miss the scan and the
projections that feed it, which in VM-UNet are half of the work. Both figures are given, labeled.
"""

from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from skinlesion.model.ss2d import SS2D


@dataclass(frozen=True)
class Cost:
    """Operations of one forward pass on one image. A multiply-add is one MAC or two FLOPs.

    Attributes:
        parameters: number of trainable parameters.
        layer_macs: multiply-adds of linear and convolution layers, as thop counts.
        product_flops: floating-point operations of all convolutions and matrix products, projections included.
        scan_flops: 9 L D N + L D for each direction of each scan (Mamba's own rule).
    """

    parameters: int
    layer_macs: int
    product_flops: int
    scan_flops: int

    @property
    def flops(self) -> int:
        """Everything: products and scans."""
        return self.product_flops + self.scan_flops

    def to_dict(self) -> dict[str, int]:
        """Plain numbers, the total included."""
        return {**asdict(self), "flops": self.flops}


def _layer_macs(module: nn.Module, output: Tensor) -> int:
    if isinstance(module, nn.Linear):
        return output.numel() * module.in_features
    if isinstance(module, nn.Conv2d):
        kernel = module.kernel_size[0] * module.kernel_size[1]
        return output.numel() * module.in_channels // module.groups * kernel
    if isinstance(module, nn.ConvTranspose2d):  # each output pixel of a stride-k kernel-k layer has one tap
        taps = module.kernel_size[0] * module.kernel_size[1] // (module.stride[0] * module.stride[1])
        return output.numel() * module.in_channels // module.groups * taps
    return 0


def count_cost(model: nn.Module, height: int = 256, width: int = 256) -> Cost:
    """Run one image through a model and count.

    Args:
        model: any network of the kit, on the CPU; it is left as it was.
        height: of the image.
        width: of the image.

    Returns:
        Its cost.
    """
    macs = scan = 0

    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal macs, scan
        if isinstance(module, SS2D):
            tokens = inputs[0].shape[1] * inputs[0].shape[2]
            directions, channels, states = module.A_logs.shape
            scan += directions * tokens * channels * (9 * states + 1)
        else:
            macs += _layer_macs(module, output)

    training, first = model.training, next(model.parameters())
    channels = getattr(getattr(model, "config", None), "in_channels", 3)
    hooks = [module.register_forward_hook(count) for module in model.modules()]
    try:
        model.eval()
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            model(torch.zeros(1, channels, height, width, dtype=first.dtype, device=first.device))
    finally:
        model.train(training)
        for hook in hooks:
            hook.remove()
    parameters = sum(p.numel() for p in model.parameters())
    return Cost(parameters, macs, counter.get_total_flops(), scan)
