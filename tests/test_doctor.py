import json
from pathlib import Path

import numpy as np
import pytest
import torch

from skinlesion import doctor
from skinlesion.checkpoint import available_weights
from skinlesion.doctor import diagnose
from skinlesion.scan import ENGINES, choose_engine


def test_it_tells_versions_devices_engines_and_speed() -> None:
    found = diagnose(seconds=0.1)
    assert found["torch"] == torch.__version__
    assert found["packages"]["numpy"] == np.__version__
    assert found["threads"]["torch"] == torch.get_num_threads()
    assert [engine["name"] for engine in found["engines"]] == list(ENGINES)
    assert all(engine["reason"] for engine in found["engines"])
    assert found["devices"][0]["name"] == "cpu"
    assert found["auto"]["cpu"] == choose_engine("auto", "cpu")
    assert [weights["name"] for weights in found["weights"]] == available_weights()
    assert all(weights["error"] is None for weights in found["weights"])
    assert found["speed"]["images_per_second"] > 0
    assert found["speed"]["error"] is None
    json.dumps(found, allow_nan=False)


def test_it_reports_trouble_and_does_not_stop_at_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_checkpoint: Path, cli
) -> None:
    from skinlesion import checkpoint

    (tmp_path / "broken.safetensors").write_bytes(b"broken")
    (tmp_path / "good.safetensors").write_bytes(small_checkpoint.read_bytes())
    monkeypatch.setattr(checkpoint, "WEIGHTS", tmp_path)
    monkeypatch.setattr(doctor, "WEIGHTS", tmp_path)
    monkeypatch.setattr("skinlesion.commands.doctor.diagnose", lambda: diagnose(seconds=0.05))
    code, out, _ = cli("doctor")
    assert code == 0
    text = " ".join(out.split())
    assert "Weights good: network tiny" in text
    assert "broken.safetensors is damaged" in text
    assert "yes, auto" in text
    assert "images a second" in text


def test_json_is_json(cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("skinlesion.commands.doctor.diagnose", lambda: diagnose(seconds=0.05))
    code, out, err = cli("doctor", "--json", "-")
    assert (code, err) == (0, "")
    assert json.loads(out)["auto"]["cpu"] == "cpu"
