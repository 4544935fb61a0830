import torch
from torch import nn

from skinlesion.training.diagnose import first_nonfinite_layer, last_nonfinite_gradient


class Overflow(nn.Module):
    def forward(self, x):
        return x * 1e30 * 1e30


def _network(middle: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.ReLU(), middle), nn.Linear(2, 1))


def test_names_the_innermost_layer_that_breaks_first():
    network = _network(Overflow())
    x = torch.ones(1, 2)
    with torch.no_grad():
        network[0].weight.fill_(1)
    assert first_nonfinite_layer(network, lambda: network(x)) == "1.1 (Overflow)"
    assert not any(module._forward_hooks for module in network.modules())


def test_names_a_weight_that_is_broken_already():
    network = _network(nn.Tanh())
    with torch.no_grad():
        network[2].bias.fill_(float("nan"))
    assert "2.bias" in first_nonfinite_layer(network, lambda: network(torch.ones(1, 2)))


def test_finds_nothing_where_nothing_is():
    network = _network(nn.Tanh())
    assert first_nonfinite_layer(network, lambda: network(torch.ones(1, 2))) is None
    network(torch.ones(1, 2)).sum().backward()
    assert last_nonfinite_gradient(network) is None


def test_gradient_is_traced_to_where_backward_met_it_first():
    network = nn.Sequential(nn.Linear(1, 1), nn.Linear(1, 1), nn.Linear(1, 1))
    y = network[1](network[0](torch.ones(1, 1)))
    z = network[2]((y - y).sqrt())  # sqrt has an infinite slope at 0, and inf * 0 is NaN
    z.sum().backward()
    assert last_nonfinite_gradient(network) == "1.bias"
