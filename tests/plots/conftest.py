"""An image with a lesion, and what a network might have made of it; plain arrays."""

from types import SimpleNamespace

import numpy as np
import pytest


@pytest.fixture
def case():
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:60, :90]
    truth = (rows - 30) ** 2 + (columns - 45) ** 2 < 400
    mask = (rows - 30) ** 2 + (columns - 50) ** 2 < 400
    image = np.where(truth[..., None], (90, 50, 40), (225, 180, 160)).astype(np.uint8)
    probability = np.clip(mask * 0.8 + rng.uniform(0, 0.2, mask.shape), 0, 1).astype(np.float32)
    return SimpleNamespace(image=image, mask=mask, truth=truth, probability=probability, rng=rng)


def parts():
    """A network of two levels, told without torch."""
    names = ("name", "kind", "level", "shape", "blocks", "parameters")

    def part(*values):
        return SimpleNamespace(**dict(zip(names, values, strict=True)))

    return [
        part("embedding", "embedding", 1, (8, 8, 4), 0, 10),
        part("E1", "encoder", 1, (8, 8, 4), 2, 1000),
        part("E2", "encoder", 2, (4, 4, 8), 2, 2000),
        part("D2", "decoder", 2, (4, 4, 8), 1, 1500),
        part("S2", "skip", 2, (4, 4, 8), 0, 100),
        part("D1", "decoder", 1, (8, 8, 4), 1, 500),
        part("head", "head", 1, (32, 32, 1), 0, 7),
    ]


@pytest.fixture
def calls(case):
    """Function name -> arguments, for every picture that both kinds of figure have."""
    rng, image = case.rng, case.image
    gates = rng.uniform(0, 1, 24)
    gate_h, gate_w = rng.uniform(0.2, 0.9, 6), rng.uniform(0.2, 0.9, 9)
    per_route = rng.uniform(0, 2, (4, 6, 9))
    fraction = np.linspace(0, 1, 11)
    correlation = np.corrcoef(rng.normal(size=(12, 50)))
    routes = np.stack(np.divmod(np.arange(20), 5), axis=-1)[None].repeat(4, axis=0)
    edges = np.linspace(0, 1, 6)
    counts = np.array([40, 0, 10, 10, 40])
    confidence = np.array([0.1, np.nan, 0.5, 0.7, 0.9])
    history = {"epoch": [1, 2, 3], "train_loss": [0.9, 0.5, 0.4], "train_bce": [0.8, 0.4, 0.3]}
    history |= {"train_cfd": [0.0, 0.0, 0.0], "val_iou": [0.4, 0.6, 0.7], "lr": [1e-3, 2e-3, 1e-3]}
    shares = {"this": rng.uniform(0, 1, (32, 32)), "U-Net": rng.uniform(0, 1, (32, 32))}
    return {
        "overlay": ((image, case.mask), {"truth": case.truth}),
        "errors": ((image, case.mask, case.truth), {}),
        "probability": ((image, case.probability), {"threshold": 0.5}),
        "spread": ((image, case.probability / 3), {}),
        "difference": ((image, case.probability, case.probability[::-1]), {"names": ("small", "U-Net")}),
        "cra_gates": ((image, gate_h, gate_w, np.outer(gate_h, gate_w)), {"what": "S2, channel 7"}),
        "gate_profiles": (({"before": (gate_h, gate_w), "expected": (gate_h, gate_w)},), {}),
        "se_bars": ((gates,), {"block": "E2.1", "other": gates[::-1], "channel": 3}),
        "se_overview": (({"E1.1": gates, "E2.1": gates[:7]},), {}),
        "channel_maps": ((rng.normal(size=(6, 9, 5)),), {"titles": list("abcde")}),
        "redundancy": ((correlation,), {"layer": "E3.1", "mean_absolute": 0.12, "effective_rank": 9.5}),
        "redundancy_by_depth": ((["E1.1", "E2.1"], [0.5, 0.25], [0.2, 0.4]), {}),
        "routes": ((routes,), {"image": image}),
        "implicit_attention": ((image, per_route, per_route.sum(0), (2, 3)), {}),
        "step_maps": ((image, per_route), {}),
        "receptive_fields": ((shares, dict.fromkeys(shares, (16, 16)), {"this": 9, "U-Net": 21}), {}),
        "attribution": (
            (image, rng.normal(size=(60, 90)), case.mask),
            {"method": "grad_cam", "layer": "D2.2", "faithfulness": 0.4},
        ),
        "faithfulness": ((fraction, 1 - fraction, fraction, 1 - fraction**2, fraction**2, 0.33), {}),
        "reliability": ((edges, counts, confidence, confidence**2, 0.05), {}),
        "histogram": ((rng.uniform(0.5, 1, 40),), {"label": "DSC", "mark": 0.6}),
        "threshold_curve": ((fraction, {"IoU": 1 - (fraction - 0.5) ** 2 - 0.25, "DSC": fraction}, 0.5), {}),
        "paired_scores": ((np.linspace(0.5, 1, 30), rng.uniform(0.5, 1, 30)), {"label": "DSC"}),
        "training_curves": ((history,), {"best_epoch": 2}),
        "compared_runs": (({"small": history, "U-Net": history},), {}),
        "architecture": ((parts(),), {}),
    }


@pytest.fixture
def draw(calls):
    """Draw a picture by name: draw(module, "overlay", opacity=0.5)."""

    def drawn(module, name, **options):
        arguments, keywords = calls[name]
        return getattr(module, name)(*arguments, **(keywords | options))

    return drawn
