"""Every view of the app on the pretend GPU, through Streamlit's own test runner."""

import os
import tempfile
from pathlib import Path

import torch
from steps import TINY, step


def dashboard(kind: str) -> None:
    """Every view, and the buttons that start a job."""
    from streamlit.testing.v1 import AppTest

    import dashboard.visits
    import dashboard.weights
    from dashboard.frame import PAGES
    from skinlesion import checkpoint, create_model

    card = {
        "preprocessing": {"size": [64, 64], "normalize": "minmax"},
        "temperature": 1.7,
        "data": {"dataset": "folder", "split": "random", "manifest": "0" * 64},
        "seed": 1,
        "command": "skinlesion train --preset tiny",
        "metrics": {"val": {"iou": 0.5}},
    }
    with tempfile.TemporaryDirectory() as folder:
        weights, empty = Path(folder) / "weights", Path(folder) / "empty"
        weights.mkdir()
        empty.mkdir()
        torch.manual_seed(3)
        checkpoint.save_checkpoint(weights / "random.safetensors", create_model("tiny", **{**TINY, "dim": 16}), card)
        checkpoint.save_checkpoint(weights / "unet.safetensors", create_model("unet", dim=4), card)
        checkpoint.WEIGHTS = dashboard.weights.WEIGHTS = empty
        os.environ |= {
            "SKINLESION_DEVICE": kind,
            "SKINLESION_WEIGHTS_DIR": str(weights),
            "SKINLESION_RUNS_DIR": str(empty),
        }
        dashboard.visits.cookie = lambda: ""  # without a browser there is no cookie

        def open_app(view: str, **query: str) -> AppTest:
            app = AppTest.from_file(str(Path(dashboard.visits.__file__).with_name("app.py")), default_timeout=300)
            if view != "segment":
                app.switch_page(f"views/{view}.py")
            app.query_params.update({"weights": "random", "sample": "ISIC_0012434", **query})
            return run(app)

        def run(app: AppTest) -> AppTest:
            app.run()
            assert not app.exception, (app.exception[0].message, app.exception[0].stack_trace)
            return app

        for view in [name for views in PAGES.values() for name, *_ in views]:
            with step(view):
                open_app(view)
        for view, query, button in (
            ("segment", {"tta": "true"}, "Segment "),
            ("intervene", {"experiment": "patch"}, "Patch "),
            ("channels", {}, "Measure every layer"),
            ("why", {"ask": "pixel", "method": "grad_cam"}, "Explain"),
            ("compare", {}, "Compare on"),
            ("errors", {}, "Evaluate "),
        ):
            with step(f"{view}, {button.strip()}"):
                app = open_app(view, **query)
                next(each for each in app.button if each.label.startswith(button)).click()
                run(app)
        for view, query in (
            ("network", {"tile": "E1.1"}),
            ("network", {"tile": "S2"}),
            ("intervene", {"edits": "e.500.500.200"}),
            ("intervene", {"experiment": "gate", "gate": "module", "to": "image"}),
            ("attention", {"change": "turn"}),
            ("channels", {"against": "image"}),
            ("scan", {"direction": "writes"}),
            ("compare", {"kind": "ablation"}),
        ):
            with step(f"{view} {query}"):
                open_app(view, **query)
