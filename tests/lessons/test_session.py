"""Hints, solutions, going on without a solution, plugging into the network."""

import pytest
import torch

from skinlesion import SkinlesionError, create_model, lessons
from skinlesion.lessons import help as lesson_help
from skinlesion.model import SS2D, ModelConfig, channel_mixing, squeeze_excitation
from skinlesion.scan import cross_selective_scan


def test_hints_come_one_at_a_time(monkeypatch):
    monkeypatch.setattr(lesson_help, "_shown", {})
    first, second, third = (lessons.hint("ss2d.four_routes") for _ in range(3))
    assert "Hint 1 of 3" in first
    assert "Hint 2" not in first
    assert "Hint 1 of 3" in second
    assert "Hint 2 of 3" in second
    assert "lessons.solution" in third
    assert lessons.hint("ss2d.four_routes") == third
    assert "<br>" in third._repr_html_()


def test_a_solution_shows_its_source_and_can_be_called():
    solution = lessons.solution("ss2d.four_routes")
    assert repr(solution).startswith("# skinlesion/scan/reference.py\n")
    assert "\ndef four_routes(" in repr(solution)
    assert solution(1, 2).tolist() == [[0, 1], [0, 1], [1, 0], [1, 0]]
    assert repr(lessons.solution("ss2d.seen_by_one_route")) == "29"


def test_the_table_of_exercises():
    assert "four_routes(height, width)" in repr(lessons.exercises(5))
    assert lessons.exercises(5)[0].name == "ss2d.four_routes"
    with pytest.raises(SkinlesionError, match="There is no lesson 99"):
        lessons.exercises(99)


def test_use_takes_the_students_function_only_if_it_passes(capsys):
    package = lessons.solution("ss2d.four_routes").answer

    def mine(height, width):
        return package(height, width)

    def stub(height, width):
        raise NotImplementedError("ss2d.four_routes")

    assert lessons.use("ss2d.four_routes", mine) is mine
    assert "going on with yours" in capsys.readouterr().out
    assert lessons.use("ss2d.four_routes", stub) is package
    assert "not written yet" in capsys.readouterr().out
    assert lessons.use("ss2d.four_routes", lambda height, width: None) is package
    assert "does not pass" in capsys.readouterr().out
    assert lessons.use("ss2d.seen_by_one_route", None) == 29


def cra(x, conv1, bn1, conv_h, conv_w):
    f = conv1(torch.cat([x.mean(2), x.mean(1)], dim=1))
    f = torch.nn.functional.hardswish(bn1(f.mT).mT)
    f_h, f_w = f.split([x.shape[1], x.shape[2]], dim=1)
    return x * conv_h(f_h).sigmoid()[:, :, None] * conv_w(f_w).sigmoid()[:, None]


def reference_scan(x, delta, A, B, C, D, delta_bias):
    return cross_selective_scan(x, delta, A, B, C, D, delta_bias, engine="reference")


PARTS = {"scan": reference_scan, "se": squeeze_excitation, "cmn": channel_mixing, "cra": cra}


@pytest.mark.parametrize("part", PARTS)
def test_a_right_function_in_the_network_changes_nothing_and_trains(part):
    torch.manual_seed(0)
    model = create_model("tiny", dim=16, depths=(1, 1), decoder_depths=(1, 1), d_state=2)
    image = torch.rand(2, 3, 16, 24)
    calls = []

    def mine(*args):
        calls.append(part)
        return PARTS[part](*args)

    model.eval()
    before = model(image)
    plugged = lessons.plug(model, part, mine)
    torch.testing.assert_close(plugged(image), before)
    assert calls
    assert plugged.model.state_dict().keys() == model.state_dict().keys()
    calls.clear()
    torch.testing.assert_close(model(image), before)
    assert not calls
    plugged.train()(image).sum().backward()
    assert all(p.grad is not None for p in plugged.parameters())
    assert all(p.grad is None for p in model.parameters())


def test_a_wrong_function_in_the_network_shows():
    model = create_model("tiny", dim=16, depths=(1, 1), decoder_depths=(1, 1), d_state=2).eval()
    image = torch.rand(1, 3, 16, 16)
    plugged = lessons.plug(model, "se", lambda x, fc1, fc2: (x, x.mean((1, 2))))
    assert not torch.allclose(plugged(image), model(image))


def test_one_ss2d_can_be_plugged_by_itself():
    ss2d = SS2D(dim=8, config=ModelConfig(d_state=2))
    plugged = lessons.plug(ss2d, "scan", lambda x, *others: torch.zeros_like(x))
    x = torch.randn(1, 3, 4, 8)
    assert not torch.allclose(plugged(x), ss2d(x))


def test_what_cannot_be_plugged_is_said():
    model = create_model("vmunet", dim=16, depths=(1, 1), decoder_depths=(1, 1), d_state=2)
    with pytest.raises(SkinlesionError, match="no 'cra'"):
        lessons.plug(model, "cra", cra)
    with pytest.raises(SkinlesionError, match="Unknown part"):
        lessons.plug(model, "attention", cra)
