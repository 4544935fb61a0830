"""Trials on a copy of the network, before the run writes anything."""

import torch
from torch import nn

from skinlesion.errors import SkinlesionError
from skinlesion.model import SS2D, set_engine
from skinlesion.plugins import EXTRA_ENGINES
from skinlesion.training.memory import build_model
from skinlesion.training.module import Batch, SegmentationModule
from skinlesion.user_code import named_errors
from skinlesion.user_network import is_user_network, logits_of, name_of


def build_probe(module: SegmentationModule, device: torch.device) -> SegmentationModule:
    """A module with the same options and weights of its own, on the run's device.

    It is built anew, since not every network can be copied.
    """
    model = build_model(module.config)
    engine = next((each.engine for each in module.model.modules() if isinstance(each, SS2D)), None)
    if engine is not None:
        set_engine(model, engine, device)
    return SegmentationModule(model, module.config).to(device)


def try_user_code(module: SegmentationModule, device: torch.device) -> None:
    """Take a training step and a validation step on noise, if the network, the loss or the engine isn't the package's.

    This runs on a probe, in the run's precision, and restores torch's random state.

    Args:
        module: not changed.
        device: the run's device.

    Raises:
        SkinlesionError: the code fails, returns something unexpected, or produces no gradient.
    """
    config = module.config
    if not (is_user_network(module.model) or module.supervised or config.engine in EXTRA_ENGINES):
        return
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        probe = build_probe(module, device)
        for training in (True, False):
            probe.train(training)
            _try_step(probe, min(2, config.part_size) if training else 1, device)


def _try_step(probe: SegmentationModule, count: int, device: torch.device) -> None:
    config = probe.config
    image = torch.rand(count, 3, config.size, config.size, device=device)
    mask = torch.zeros_like(image[:, :1])
    mask[..., : config.size // 2] = 1
    batch = Batch(image=image, mask=mask, id=["noise"] * count, counted=torch.ones(count, device=device))
    code = _whose_code(probe.model, config.loss if probe.supervised else None, config.engine)
    with torch.set_grad_enabled(probe.training), autocast(probe, device):
        loss = probe.losses(batch)["loss"]
    if not torch.isfinite(loss):
        raise SkinlesionError(f"A trial on noise, with {code}, gave the loss {loss.item()}: it must be finite.")
    if not probe.training:
        return
    if not loss.requires_grad:
        raise SkinlesionError(_no_gradient(probe, image))
    with named_errors(f"The backward pass of a trial, with {code}, failed"):
        loss.backward()


def _whose_code(model: nn.Module, loss: str | None, engine: str) -> str:
    """What in a run isn't the package's: "network 'mine' and loss 'own'"."""
    parts = [f"network {name_of(model)!r}"] if is_user_network(model) else []
    parts += [f"loss {loss!r}"] if loss is not None else []
    parts += [f"scan engine {engine!r}"] if engine in EXTRA_ENGINES else []
    return " and ".join(parts)


def _no_gradient(probe: SegmentationModule, image: torch.Tensor) -> str:
    """Which part is cut off from the gradient."""
    if logits_of(probe.model, image).requires_grad:
        return (
            f"The loss {probe.config.loss!r} has no gradient: compute it from the logits by differentiable operations, "
            "without .item(), .detach() or a comparison."
        )
    return (
        f"The logits of the network {name_of(probe.model)!r} have no gradient, so it cannot be trained: return them "
        "without .detach() or torch.no_grad()."
    )


def autocast(probe: SegmentationModule, device: torch.device) -> torch.autocast:
    """The run's precision, outside of Lightning."""
    precision = probe.config.precision
    dtype = torch.float16 if precision == "16-mixed" else torch.bfloat16
    return torch.autocast(device.type, dtype, enabled=precision != "32")
