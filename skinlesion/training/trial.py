"""A trial of the user's code, before the run writes anything."""

import copy

import torch

from skinlesion.plugins import EXTRA_ENGINES
from skinlesion.training.estimate import autocast
from skinlesion.training.module import Batch, SegmentationModule
from skinlesion.user_network import is_user_network


def try_user_code(module: SegmentationModule, device: torch.device) -> None:
    """Compute the losses on one gray image, half of it lesion, if network, loss or engine isn't the package's.

    This runs on a copy of the module, on the run's device, and restores torch's random state.

    Args:
        module: not changed.
        device: the run's device.

    Raises:
        SkinlesionError: the code fails, or returns something other than it should.
    """
    config = module.config
    if not (is_user_network(module.model) or module.supervised or config.engine in EXTRA_ENGINES):
        return
    image = torch.full((1, 3, config.size, config.size), 0.5, device=device)
    mask = torch.zeros_like(image[:, :1])
    mask[..., : config.size // 2] = 1
    probe = copy.deepcopy(module).to(device).eval()
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []), autocast(probe, device):
        probe.losses(Batch(image=image, mask=mask, id=["gray"], counted=torch.ones(1, device=device)))
