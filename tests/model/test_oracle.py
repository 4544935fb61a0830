"""The block and the network, with SE, CMN and CRA on, against a second implementation in float64."""

import importlib.util
from pathlib import Path

import pytest
import torch

from skinlesion import create_model
from skinlesion.model import CMSSMBlock, CrossRegionAttention, ModelConfig, set_engine

_spec = importlib.util.spec_from_file_location("oracle", Path(__file__).with_name("oracle.py"))
assert _spec is not None
assert _spec.loader is not None
oracle = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(oracle)

TINY = {"dim": 16, "depths": (1, 2), "decoder_depths": (1, 1), "d_state": 3, "dt_rank": 2}


def shake(model):
    """Every parameter and running statistic becomes random, so that no module is close to an identity or constant."""
    torch.manual_seed(5)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("dt_projs_bias"):
                parameter.uniform_(-3, 0)
            elif name.endswith("A_logs"):
                parameter.uniform_(-1, 1)
            elif parameter.dim() < 2:
                parameter.uniform_(0.3, 1.5)
            else:
                parameter.normal_(std=parameter[0].numel() ** -0.5)
        for name, buffer in model.named_buffers():
            if name.endswith("running_mean"):
                buffer.normal_()
            elif name.endswith("running_var"):
                buffer.uniform_(0.5, 2)
    return model.eval()


@pytest.mark.parametrize(("engine", "dtype", "tolerance"), [("reference", torch.float64, 1e-9), ("cpu", None, 1e-3)])
@torch.no_grad()
def test_the_network_equals_the_oracle(engine, dtype, tolerance):
    """float64: 1e-9 of the spread of the logits. float32 through a dozen normalizations: 1e-3 of it."""
    model = shake(create_model("paper", **TINY)).to(dtype or torch.float32)
    set_engine(model, engine)
    image = torch.randn(2, 3, 16, 24, dtype=dtype or torch.float32)
    logits = model(image)
    assert (logits[:, 0].std((1, 2)) > 0.1).all()
    assert (logits[0] - logits[1]).std() > 0.02
    expected = torch.stack([oracle.network(each, model.state_dict()) for each in image])
    assert (logits[:, 0] - expected).abs().max() < tolerance * expected.std()


@torch.no_grad()
def test_the_block_equals_the_oracle():
    """1e-10, in float64, on an image that is no square."""
    block = shake(CMSSMBlock(dim=16, config=ModelConfig(d_state=3))).double()
    set_engine(block, "reference")
    x = torch.randn(2, 3, 5, 16, dtype=torch.float64)
    y = block(x)
    assert (y - x).std() > 0.1
    for one, found in zip(x, y, strict=True):
        torch.testing.assert_close(found, oracle.block(one, block.state_dict()), rtol=1e-10, atol=1e-10)


@torch.no_grad()
def test_cra_equals_the_oracle_and_its_gates_differ_by_position():
    cra = shake(CrossRegionAttention(dim=16)).double()
    x = torch.randn(4, 6, 16, dtype=torch.float64)
    for gate in cra.gates(x[None]):
        assert gate.std(1).min() > 1e-3
    torch.testing.assert_close(cra(x[None])[0], oracle.cross_region_attention(x, cra.state_dict()))


def test_the_oracle_needs_no_code_of_the_package():
    source = Path(oracle.__file__).read_text()
    assert "import skinlesion" not in source
    assert "from skinlesion" not in source
