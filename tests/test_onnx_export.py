"""ONNX files, run by ONNX Runtime as their users do."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from skinlesion import Segmenter, SkinlesionError, create_model, observe
from skinlesion.checkpoint import available_weights, save_checkpoint
from skinlesion.model import SS2D

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

from skinlesion.onnx_export import GATES, TOLERANCE, export_onnx  # noqa: E402

PAGE = Path(__file__).parents[1] / "docs" / "onnx.md"
CARD = {"preprocessing": {"size": [32, 48], "normalize": "minmax"}, "threshold": 0.4}


@pytest.fixture(scope="module")
def segmenter(small_checkpoint: Path) -> Segmenter:
    """Its own engine is the definition of the scan, which the file is compared with."""
    return Segmenter.from_pretrained(small_checkpoint, engine="reference")


@pytest.fixture(scope="module")
def file(segmenter: Segmenter, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small network with all its gates."""
    path = tmp_path_factory.mktemp("onnx") / "network.onnx"
    differences = export_onnx(segmenter, path, points=GATES)
    assert max(differences.values()) <= TOLERANCE
    return path


@pytest.mark.parametrize("batch", [1, 5])
def test_every_output_is_pytorchs_for_any_batch(file: Path, segmenter: Segmenter, batch: int) -> None:
    image = torch.rand(batch, 3, *segmenter.size, generator=torch.Generator().manual_seed(batch))
    with torch.no_grad(), observe(segmenter.model, *GATES) as seen:
        expected = {"logits": segmenter.model(image), **seen}
    session = onnxruntime.InferenceSession(file)
    names = [output.name for output in session.get_outputs()]
    assert names == list(expected)
    assert {"S2.cra.gate_h", "S2.cra.gate_w", "E1.1.se.gate", "D1.1.se.gate"} <= set(names)
    for name, found in zip(names, session.run(None, {"image": image.numpy()}), strict=True):
        np.testing.assert_allclose(found, expected[name].numpy(), rtol=0, atol=TOLERANCE, err_msg=name)
    assert expected["logits"].std() > 100 * TOLERANCE, "constant logits would prove nothing"


def test_the_scan_is_one_standard_operator_a_layer(file: Path, segmenter: Segmenter) -> None:
    model = onnx.load(file)
    onnx.checker.check_model(model, full_check=True)
    kinds = [node.op_type for node in model.graph.node]
    assert kinds.count("Scan") == sum(isinstance(module, SS2D) for module in segmenter.model.modules())
    assert "Loop" not in kinds
    assert [entry.domain for entry in model.opset_import] == [""]
    assert str(PAGE.parents[1]) not in str(model), "a path of the machine that exported it"


def test_the_card_travels_in_the_metadata(file: Path, segmenter: Segmenter) -> None:
    card = json.loads(onnxruntime.InferenceSession(file).get_modelmeta().custom_metadata_map["skinlesion"])
    assert card.pop("onnx")["tolerance"] == TOLERANCE
    assert card == segmenter.card


def test_the_lines_of_the_page_find_the_segmenters_mask(cli, tmp_path: Path, photo: np.ndarray) -> None:
    (lines,) = re.findall(r"<!-- test -->\n```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len([line for line in lines.splitlines() if line]) <= 20
    Image.fromarray(photo).save(tmp_path / "photo.jpg", quality=95)
    torch.manual_seed(3)
    segmenter = Segmenter(create_model("tiny", depths=(1, 1), decoder_depths=(1, 1)), CARD)
    found = segmenter.segment(tmp_path / "photo.jpg")
    threshold = float(np.median(found.probability))  # of an untrained network: half of the image is lesion
    export_onnx(segmenter, tmp_path / "accurate.onnx", threshold=threshold)
    lines += "\nimport sys; assert not {'torch', 'skinlesion'} & set(sys.modules)"
    done = subprocess.run(
        [sys.executable, "-I", "-c", lines], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    mask = np.asarray(Image.open(tmp_path / "mask.png"))
    near = np.abs(found.probability - threshold) < 1e-4
    assert mask.shape == photo.shape[:2]
    assert ((mask == (found.probability >= threshold)) | near).all()
    assert near.mean() < 0.05
    assert 0.4 < mask.mean() < 0.6
    assert "of the image is lesion" in done.stdout


class _Noise(torch.nn.Module):
    """No two runs of it agree, in ONNX Runtime either."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return image[:, :1] + torch.rand_like(image[:, :1])


class _Decides(torch.nn.Module):
    """Its Python code depends on values, which a graph can't express."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return image[:, :1] if image.sum() > 0 else image[:, 1:2]


@pytest.mark.parametrize(
    ("model", "message"),
    [(_Noise(), r"was not written: .* the output logits differs by"), (_Decides(), "cannot be translated to ONNX")],
)
def test_what_does_not_match_is_not_written(tmp_path: Path, model: torch.nn.Module, message: str) -> None:
    path = tmp_path / "network.onnx"
    path.write_bytes(b"the old one")
    with pytest.raises(SkinlesionError, match=message) as caught:
        export_onnx(Segmenter(model, CARD), path)
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == b"the old one"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "Say what to write: --out FILE.safetensors, --onnx FILE.onnx, or both."),
        (("--onnx", "network.pt"), "must end in .onnx"),
        (("--onnx", "network.onnx", "--points", "S9.cra.gate_h"), "did you mean S2.cra.gate_h"),
        (("--onnx", "network.onnx", "--half"), "--half and --results are for --out"),
        (("--onnx", "network.onnx", "--threshold", "50"), "between 0 and 1"),
        (("--out", "copy.safetensors", "--points", "gates"), "--points is for --onnx"),
    ],
)
def test_wrong_options_are_refused(cli, small_checkpoint, tmp_path, monkeypatch, words, message) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = cli("export", small_checkpoint, *words)
    assert (code, out) == (2, "")
    assert message in err
    assert list(tmp_path.iterdir()) == []


def test_the_command_keeps_an_existing_file(cli, small_checkpoint: Path, tmp_path: Path) -> None:
    path = tmp_path / "network.onnx"
    path.write_bytes(b"mine")
    code, _, err = cli("export", small_checkpoint, "--onnx", path)
    assert code == 2
    assert "exists already" in err
    assert path.read_bytes() == b"mine"
    code, out, err = cli("export", small_checkpoint, "--onnx", path, "--points", "gates", "--overwrite")
    assert (code, err) == (0, "")
    assert "largest difference from PyTorch" in out
    assert len(onnxruntime.InferenceSession(path).get_outputs()) > 5


def test_a_missing_package_is_named(small_checkpoint: Path, tmp_path: Path) -> None:
    code = "import sys; sys.modules['onnxscript'] = None; from skinlesion.cli import main; sys.exit(main(sys.argv[1:]))"
    words = ["export", str(small_checkpoint), "--onnx", str(tmp_path / "network.onnx")]
    done = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 2
    assert "needs onnxscript: pip install 'skinlesion[onnx]'" in done.stderr


def test_a_network_without_a_scan_can_be_exported_by_a_process_that_never_scanned(tmp_path: Path) -> None:
    model = create_model("unet", dim=8)
    save_checkpoint(tmp_path / "unet.safetensors", model, CARD)
    words = ["export", str(tmp_path / "unet.safetensors"), "--onnx", str(tmp_path / "unet.onnx")]
    done = subprocess.run(
        [sys.executable, "-m", "skinlesion", *words], capture_output=True, text=True, timeout=300, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert len(onnxruntime.InferenceSession(tmp_path / "unet.onnx").get_outputs()) == 1


@pytest.mark.slow
@pytest.mark.parametrize("name", ["medmamba", "hcmamba", "vmunet", "unet", "transfuse"])
def test_networks_of_the_zoo_can_be_exported(tmp_path: Path, name: str) -> None:
    torch.manual_seed(0)
    size = {"dim": 16} if name not in ("unet", "transfuse") else {"dim": 8}
    differences = export_onnx(Segmenter(create_model(name, **size), CARD), tmp_path / "network.onnx")
    assert differences["logits"] <= TOLERANCE


@pytest.mark.slow
@pytest.mark.parametrize("name", available_weights())
def test_shipped_checkpoints_can_be_exported(tmp_path: Path, name: str) -> None:
    differences = export_onnx(Segmenter.from_pretrained(name), tmp_path / "network.onnx", points=GATES)
    assert len(differences) == 1 + 3 * 2 + 15
    assert max(differences.values()) <= TOLERANCE
