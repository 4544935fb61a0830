"""A very small network and an image that is no square."""

import pytest
import torch

from skinlesion import create_model


@pytest.fixture
def model():
    torch.manual_seed(0)
    network = create_model("tiny", dim=16, d_state=4).eval()
    for skip in network.skips:  # gates of a fresh network hardly differ from 1/2
        torch.nn.init.normal_(skip.conv_h.weight)
        torch.nn.init.normal_(skip.conv_w.weight)
    return network


@pytest.fixture
def image():
    torch.manual_seed(1)
    return torch.rand(1, 3, 64, 96)


@pytest.fixture
def untouched(model):
    """Fails a test that leaves something behind in the model."""
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    modules = [id(module) for module in model.modules()]
    yield
    assert [id(module) for module in model.modules()] == modules
    for module in model.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks
        assert not module._backward_hooks
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    assert all(parameter.grad is None for parameter in model.parameters())
