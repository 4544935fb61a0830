"""Probability maps: at another size, and calibrated."""

import torch
import torch.nn.functional as F
from torch import Tensor

_PART = 1 << 22  # pixels that are calibrated at once: in double precision they take much memory


def resize_probability(probability: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize maps bilinearly, with the filter widened where they shrink.

    Probabilities are resized rather than logits: one overconfident pixel (a logit of 20) would otherwise drag the
    boundary towards its neighbor, and the mean over augmented views is a mean of probabilities too.

    Args:
        probability: (B, 1, H, W).
        size: the new (height, width).

    Returns:
        (B, 1, height, width), in the range of the input.
    """
    if tuple(probability.shape[-2:]) == tuple(size):
        return probability
    resized = F.interpolate(probability, size=size, mode="bilinear", align_corners=False, antialias=True)
    return resized.clamp_(0, 1)  # rounding may leave the range by one unit in the last place


def calibrated(probability: Tensor, temperature: float, *, out: Tensor | None = None) -> Tensor:
    """Temperature scaling (https://arxiv.org/abs/1706.04599): the logit divided by the temperature.

    Args:
        probability: any shape, in [0, 1].
        temperature: positive; above 1 makes probabilities less certain.
        out: where to write the result; may be `probability` itself.

    Returns:
        The same shape, in [0, 1]; no value crosses 1/2.
    """
    if temperature == 1:
        return probability
    if probability.device.type == "mps":  # Apple's GPU has no float64
        return calibrated(probability.cpu(), temperature).to(probability.device)
    # rounding must not lift a value just below 1/2 onto it
    below = torch.nextafter(torch.tensor(0.5, dtype=probability.dtype), torch.tensor(0.0, dtype=probability.dtype))
    flat = probability.reshape(-1)
    found = torch.empty_like(flat) if out is None else out.view(-1)
    for start in range(0, len(flat), _PART):
        part = flat[start : start + _PART]
        scaled = torch.sigmoid(torch.logit(part.double()) / temperature).to(part.dtype)
        found[start : start + _PART] = torch.where(part < 0.5, scaled.clamp(max=float(below)), scaled.clamp(min=0.5))
    return found.view(probability.shape)
