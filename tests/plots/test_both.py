"""What every picture must have, drawn with Matplotlib and with Plotly."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from skinlesion import plots
from skinlesion.plots import captions, interactive, static
from skinlesion.plots.rasters import as_raster

PICTURES = sorted(set(static.__all__) - {"Picture"})

# What a reader must find in the caption: a number that comes from the data, or what the colors mean.
SAYS = {
    "overlay": "23.1% of the image. The true border",
    "errors": "Orange: false negatives",
    "probability": "threshold, 0.50",
    "spread": "at most 0.5",
    "difference": "small minus by U-Net, -1 to 1",
    "cra_gates": "S2, channel 7",
    "gate_profiles": "before, expected",
    "se_bars": "E2.1: the gate of each of its 24 channels",
    "se_overview": "0 (suppressed) to 1",
    "channel_maps": "5 maps on one scale",
    "redundancy": "mean |r| 0.12, effective rank 9.5 of 12",
    "redundancy_by_depth": "0.25 to 0.5",
    "routes": "4 x 5 grid",
    "implicit_attention": "(2, 3) (cross) depends on",
    "step_maps": "Delta",
    "receptive_fields": "this 9 pixels; U-Net 21 pixels",
    "attribution": "Grad-CAM at D2.2: evidence for lesion in the outlined region",
    "faithfulness": "+0.33",
    "reliability": "0.050",
    "histogram": "DSC of 40 images: median",
    "threshold_curve": "IoU is 0.750 at the threshold in use, 0.50",
    "paired_scores": "DSC of 30 images",
    "training_curves": "3 epochs. Dotted: the epoch that was kept, 2",
    "compared_runs": "2 runs: small, U-Net",
    "architecture": "5,117 in all",
}


def test_both_kinds_have_the_same_pictures():
    assert set(interactive.__all__) - {"add_picker"} == set(PICTURES) == set(SAYS)


@pytest.mark.parametrize("name", PICTURES)
def test_captions_say_what_is_shown_in_both_kinds(draw, name):
    drawn = [plots.caption(draw(module, name)) for module in (static, interactive)]
    assert drawn[0] == drawn[1]
    assert SAYS[name] in drawn[0]
    assert drawn[0].endswith(".")


@pytest.mark.parametrize("name", PICTURES)
def test_static_pictures_show_themselves(draw, name):
    picture = draw(static, name)
    data = picture._repr_png_()
    assert data.startswith(b"\x89PNG")
    assert 5_000 < len(data) < 400_000
    shown = picture.get_supxlabel()
    assert shown.replace("\n", " ") == picture.caption


@pytest.mark.parametrize("name", PICTURES)
def test_interactive_pictures_are_modest_and_fetch_nothing(draw, name):
    figure = draw(interactive, name)
    text = figure.to_json()
    assert len(text) < 500_000
    assert "http" not in text.replace("http://www.w3.org", "")
    assert figure.layout.height
    layout = json.loads(text)["layout"]
    assert "color" not in layout.get("font", {})  # the page's theme decides
    assert "paper_bgcolor" not in layout


def test_arguments_are_left_as_they_were(calls, draw):
    copies = {name: [np.array(a) for a in args if isinstance(a, np.ndarray)] for name, (args, _) in calls.items()}
    for name in PICTURES:
        for module in (static, interactive):
            draw(module, name)
        given = [a for a in calls[name][0] if isinstance(a, np.ndarray)]
        for before, after in zip(copies[name], given, strict=True):
            np.testing.assert_array_equal(before, after)


def test_a_prepared_image_is_drawn_as_the_original(case):
    prepared = (case.image / 255).astype(np.float32)
    np.testing.assert_array_equal(as_raster(prepared), case.image)


@pytest.mark.parametrize("module", [static, interactive])
def test_a_style_that_does_not_exist(case, module):
    with pytest.raises(ValueError, match="'fill' or 'contour'"):
        module.overlay(case.image, case.mask, style="dots")


@pytest.mark.parametrize("module", [static, interactive])
def test_nothing_found_and_everything_found(case, module):
    """An empty or a full mask, and a flat map, are pictures too."""
    empty, full = np.zeros_like(case.mask), np.ones_like(case.mask)
    for mask in (empty, full):
        assert plots.caption(module.errors(case.image, mask, empty))
        assert plots.caption(module.overlay(case.image, mask))
    assert plots.caption(module.probability(case.image, np.zeros(empty.shape), threshold=0.5))
    assert plots.caption(module.attribution(case.image, np.zeros(empty.shape), full))


@pytest.mark.parametrize("module", [static, interactive])
def test_a_term_that_was_off_and_a_history_without_curves(draw, module):
    figure = draw(module, "training_curves")
    drawn = (
        [line.get_label() for axes in figure.axes for line in axes.get_lines()]
        if module is static
        else [trace.name for trace in figure.data]
    )
    assert "BCE" in drawn
    assert "CFD" not in drawn  # it was 0 all along
    with pytest.raises(ValueError, match="at least one curve"):
        module.training_curves({"epoch": [1]})


def test_ranges_are_of_the_data():
    assert captions.span(np.array([0.034, 0.98])) == "0.034 to 0.98"


def test_neither_library_is_loaded_before_it_is_used():
    heavy = "{'matplotlib', 'plotly', 'captum'}"
    code = f"import sys, skinlesion.plots, skinlesion.explain; print(*{heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_pictures_can_be_drawn_side_by_side(draw):
    """No pyplot: nothing global that several users' threads would share."""
    with ThreadPoolExecutor(4) as pool:
        images = list(pool.map(lambda _: draw(static, "histogram")._repr_png_(), range(4)))
    assert len(set(images)) == 1
