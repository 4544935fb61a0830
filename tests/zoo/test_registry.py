"""Every network of the registry, tested alike: sizes, gradients, checkpoints, options, parameter counts."""

import pytest
import torch
import torch.nn.functional as F

from skinlesion.checkpoint import load_checkpoint, save_checkpoint
from skinlesion.errors import SkinlesionError
from skinlesion.model import set_engine
from skinlesion.zoo import REGISTRY, create_model

VMUNET = {"dim": 16, "d_state": 4, "depths": (1, 1, 1), "decoder_depths": (1, 1, 1), "drop_path": 0.0}

# Options that make each network small enough for a test; nothing random in training, so that every weight is used.
SMALL = {
    "vmunet": VMUNET,
    "tiny": {**VMUNET, "se_ratio": 2},  # with fewer squeezed channels all may be below zero at the start
    "unet": {"dim": 4},
    "attention_unet": {"dim": 4},
    "unetpp": {"dim": 4},
    "lvunet": {"dim": 4},
    "utnetv2": {"dim": 4, "depth": 1, "conv_depth": 1},
    "transfuse": {"dim": 8, "depth": 2, "grid": 4, "dropout": 0.0},
    "malunet": {"dim": 8},
    "medmamba": {"dim": 8, "d_state": 4, "depths": (1, 1, 1), "drop_path": 0.0},
    "hcmamba": VMUNET,
}

# Name: (options, our count, published count, why they differ by more than 1%).
COUNTS = {
    "paper": ({}, 43_266_829, None, "the paper gives none"),
    "vmunet": ({}, 27_427_561, 27.43e6, None),
    "small": ({}, 3_189_931, None, "our own size"),
    "tiny": ({}, 1_562_037, None, "our own size"),
    "unet": ({}, 7_763_041, 7.77e6, None),
    "attention_unet": ({}, 34_870_761, 34.88e6, None),
    "unetpp": ({}, 9_159_681, 9.16e6, None),
    "lvunet": ({}, 931_569, None, "the paper's table could not be consulted"),
    "utnetv2": ({}, 19_147_585, 12.80e6, "the published count is of the configuration before the network's renaming"),
    "transfuse": ({}, 26_177_681, 26.16e6, None),
    "malunet": ({}, 177_735, 0.175e6, "the published count leaves out group normalization, 2,912 parameters"),
    "medmamba": ({}, 14_587_681, 14.5e6, None),
    "hcmamba": ({}, 12_255_577, None, "no code, and no count that could be checked"),
}

every_model = pytest.mark.parametrize("name", SMALL)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def test_every_name_is_tested():
    assert set(REGISTRY) == set(COUNTS)
    assert set(REGISTRY) - set(SMALL) == {"paper", "small"}  # "tiny" at other sizes


def small(name):
    return create_model(name, **SMALL[name])


def count(model):
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("name", REGISTRY)
def test_parameter_count_at_the_published_size(name):
    options, ours, published, reason = COUNTS[name]
    with torch.device("meta"):
        model = create_model(name, **options)
    assert count(model) == ours
    assert reason is not None or abs(ours - published) < 0.01 * published


def test_malunet_matches_without_group_normalization():
    model = create_model("malunet")
    normalization = sum(count(m) for m in model.modules() if isinstance(m, torch.nn.GroupNorm))
    assert abs(count(model) - normalization - 0.175e6) < 0.01 * 0.175e6


def test_medmambas_stages_match_the_classifier_with_1000_classes():
    with torch.device("meta"):
        model = create_model("medmamba")
    stages = sum(count(part) for part in (model.embedding, model.encoder, model.merging))
    assert abs(stages + 769 * 1000 - 15.2e6) < 0.01 * 15.2e6


@every_model
@pytest.mark.parametrize(("height", "width"), [(33, 47), (64, 32), (1, 1), (5, 90)])
def test_any_size_works(name, height, width):
    model = small(name).eval()
    with torch.inference_mode():
        logits = model(torch.rand(1, 3, height, width))
    assert logits.shape == (1, 1, height, width)
    assert torch.isfinite(logits).all()


@every_model
def test_every_parameter_gets_a_gradient(name):
    model = small(name)
    logits = model(torch.rand(2, 3, 130, 80))
    logits.square().mean().backward()
    missing = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not missing
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())


@every_model
def test_learns_where_the_bright_square_is(name):
    mask = torch.zeros(2, 1, 48, 48)
    mask[0, :, 8:40, 8:32] = 1
    mask[1, :, 20:44, 16:40] = 1
    image = 0.2 * torch.rand(2, 3, 48, 48) + 0.6 * mask

    def loss_left() -> float:
        model = small(name)
        optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
        losses = []
        for _ in range(16):
            loss = F.binary_cross_entropy_with_logits(model(image), mask)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        return losses[-1] / losses[0]

    # One start in eight is a slow one, and which one changes with PyTorch's way to draw weights.
    assert any(loss_left() < 0.8 for _ in range(3))


def see(model, image):
    """Running statistics become those of these images: with their start values a deep network's output is constant."""
    for module in model.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.momentum = 1.0
    with torch.no_grad():
        model(image)


@every_model
def test_eval_does_not_depend_on_the_rest_of_the_batch(name):
    model = small(name)
    image = torch.rand(3, 3, 40, 64)
    see(model, image)
    with torch.no_grad():
        model.eval()
        # matrix products of another height round differently
        assert model(image).std() > 1e-3
        torch.testing.assert_close(model(image)[1:2], model(image[1:2]), rtol=1e-4, atol=1e-4)


@every_model
def test_survives_saving_and_loading(name, tmp_path):
    model = small(name)
    image = torch.rand(2, 3, 40, 64)
    see(model, image)
    card = {"preprocessing": {"size": [40, 64], "normalize": "minmax"}}
    save_checkpoint(tmp_path / "a.safetensors", model, card)
    loaded, card = load_checkpoint(tmp_path / "a.safetensors")
    assert type(loaded) is type(model)
    assert loaded.name == card["model"]["name"] == name
    assert loaded.config == model.config
    with torch.inference_mode():
        assert loaded(image).std() > 1e-3
        assert torch.equal(loaded(image), model.eval()(image))


@every_model
def test_config_round_trip(name):
    config = small(name).config
    assert type(config).from_dict(config.to_dict()) == config


@every_model
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"widht": 3}, "Unknown model option widht; the options are: dim,"),
        ({"dim": 0}, "dim must be at least 1; got 0"),
        ({"dim": 7.5}, "dim must be a positive integer; got 7.5"),
    ],
)
def test_wrong_options_say_what_is_right(name, options, message):
    with pytest.raises(SkinlesionError, match=message):
        create_model(name, **options)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("lvunet", {"dim": 5}, "dim must be a multiple of 2 for this model; got 5"),
        ("malunet", {"dim": 6}, "dim must be a multiple of 4 for this model; got 6"),
        ("medmamba", {"dim": 9}, "dim must be a multiple of 2 for this model; got 9"),
        ("hcmamba", {"dim": 10}, "dim must be a multiple of 4 for this model; got 10"),
        ("hcmamba", {"depths": (2, 2)}, "same number of stages"),
        ("medmamba", {"depths": ()}, "depths must be a list of positive integers"),
        ("medmamba", {"depths": (2, 0)}, "depths must be a list of positive integers"),
        ("transfuse", {"dropout": 1.0}, r"dropout must be in \[0, 1\); got 1.0"),
    ],
)
def test_options_that_cannot_be_built_are_refused(name, options, message):
    with pytest.raises(SkinlesionError, match=message):
        create_model(name, **options)


def test_an_unknown_model_lists_the_valid_ones():
    with pytest.raises(SkinlesionError, match=r"Unknown model 'resnet'; choose one of: paper, .*transfuse"):
        create_model("resnet")


@every_model
def test_dim_scales_the_network(name):
    options = SMALL[name]
    assert count(create_model(name, **{**options, "dim": 2 * options["dim"]})) > 1.8 * count(small(name))


@pytest.mark.parametrize("name", ["medmamba", "hcmamba"])
def test_scan_engines_agree(name):
    model = small(name).eval()
    image = torch.rand(1, 3, 32, 64)
    with torch.inference_mode():
        fast = model(image)
        set_engine(model, "reference")
        assert fast.std() > 1e-3
        torch.testing.assert_close(model(image), fast, rtol=1e-3, atol=1e-4)
