"""Observe and intervene: what is seen, what is replaced, and that nobody else notices."""

import asyncio
import copy
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from skinlesion import SkinlesionError, create_model, intervene, observe, points
from skinlesion.hooks import Intervened, find_point
from skinlesion.model import SS2D, apply_gates
from skinlesion.zoo import REGISTRY
from tests.zoo.test_registry import SMALL as ZOO

PAPER = {"dim": 16, "d_state": 4}


@pytest.fixture
def model():
    torch.manual_seed(0)
    return create_model("tiny", **PAPER).eval()


@pytest.fixture
def image():
    return torch.rand(2, 3, 32, 64, generator=torch.Generator().manual_seed(1))


def build(name):
    torch.manual_seed(0)
    return create_model(name, **ZOO.get(name, PAPER)).eval()


@pytest.mark.parametrize("name", REGISTRY)
def test_every_point_that_is_listed_is_seen_and_no_other(name, image):
    network = build(name)
    with torch.no_grad():
        expected = network(image)
        with observe(network) as seen:
            assert torch.equal(network(image), expected)
    assert expected.std() > 0
    assert sorted(seen) == sorted(points(network))
    assert len(seen) >= 5


@pytest.mark.parametrize("name", REGISTRY)
def test_every_block_of_every_network_can_be_replaced(name, image):
    network = build(name)
    with torch.no_grad():
        expected = network(image)
        blocks = [point for point in points(network) if point.endswith(".output") and not point.startswith("head")]
        with intervene(network, {blocks[-1]: torch.zeros_like}):
            changed = network(image)
        assert not torch.equal(changed, expected)
        assert torch.equal(network(image), expected)


def test_names_and_shapes(model, image):
    with torch.no_grad(), observe(model, "S2.cra.*", "*.se.gate", "D1.1.*") as seen:
        model(image)
    assert seen["S2.cra.gate_h"].shape == (2, 4, 32)
    assert seen["S2.cra.gate_w"].shape == (2, 8, 32)
    assert seen["E1.2.se.gate"].shape == (2, 32)
    assert seen["D1.1.ss2d.delta"].shape == (2, 8, 16, 4, 32)
    assert seen["D1.1.output"].shape == (2, 8, 16, 16)
    gated = apply_gates(*(seen[f"S2.cra.{name}"] for name in ("input", "gate_h", "gate_w")))
    torch.testing.assert_close(seen["S2.cra.output"], gated)
    assert sum(name.endswith(".se.gate") for name in seen) == 15
    assert "S3.cra.gate_h" not in seen
    with pytest.raises(KeyError, match=r"S3.*wasn't asked"):
        seen["S3.cra.gate_h"]


def test_a_part_alone_has_points_without_a_prefix():
    ss2d = SS2D(dim=8)
    with observe(ss2d, "delta", "se.gate") as seen:
        ss2d(torch.rand(1, 2, 3, 8))
    assert seen["se.gate"].shape == (1, 16)
    assert find_point(ss2d, "se.gate")[0] is ss2d.se


def test_what_is_replaced_is_what_the_network_goes_on_with(model, image):
    gate = torch.full((2, 4, 32), 0.25)
    with torch.no_grad(), observe(model, "S2.cra.*") as seen, intervene(model, {"S2.cra.gate_h": gate}):
        model(image)
    assert seen["S2.cra.gate_h"] is gate
    torch.testing.assert_close(seen["S2.cra.output"], seen["S2.cra.input"] * 0.25 * seen["S2.cra.gate_w"][:, None])


def test_nested_interventions_run_from_the_outermost_in_and_observers_see_the_result(model, image):
    with torch.no_grad(), observe(model, "E1.1.se.gate") as outer:
        first, second = {"E1.1.*gate": torch.ones_like}, {"E1.1.se.gate": lambda gate: gate / 4}
        with intervene(model, first), intervene(model, second), observe(model, "E1.1.se.gate") as inner:
            model(image)
        assert torch.equal(inner["E1.1.se.gate"], torch.full((2, 32), 0.25))
        assert inner["E1.1.se.gate"] is outer["E1.1.se.gate"]
        model(image)
    assert not torch.equal(outer["E1.1.se.gate"], inner["E1.1.se.gate"])


def test_several_functions_at_one_point_run_in_order(model, image):
    functions = {"*.se.gate": torch.zeros_like, "E1.1.se.gate": lambda gate: gate + 0.5}
    with torch.no_grad(), intervene(model, functions), observe(model, "*.se.gate") as seen:
        model(image)
    assert set(seen["E1.1.se.gate"].unique().tolist()) == {0.5}
    assert set(seen["E1.2.se.gate"].unique().tolist()) == {0.0}


def test_gradients_flow_through_both(model, image):
    scale = torch.ones((), requires_grad=True)
    with observe(model, "E2.1.output") as seen, intervene(model, {"E2.1.output": lambda x: x * scale}):
        logits = model(image)
    by_scale, by_activation = torch.autograd.grad(logits.sum(), (scale, seen["E2.1.output"]))
    assert by_activation.abs().sum() > 0
    torch.testing.assert_close(by_scale, (by_activation * seen["E2.1.output"]).sum(), rtol=1e-3, atol=1e-4)


def test_gradients_reach_an_observed_block_of_another_network(image):
    network = build("unet")
    with observe(network, "encoder.1.output") as seen:
        logits = network(image)
    (gradient,) = torch.autograd.grad(logits.sum(), seen["encoder.1.output"])
    assert gradient.abs().sum() > 0


def test_eight_threads_on_one_model_never_mix(model):
    images = [torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(s)) for s in range(8)]

    def experiment(number):
        with torch.no_grad(), observe(model, "S2.cra.gate_h") as seen:
            if number % 2:
                with intervene(model, {"E1.1.se.gate": lambda gate: gate * 0 + number / 8}):
                    return model(images[number]), seen["S2.cra.gate_h"]
            return model(images[number]), seen["S2.cra.gate_h"]

    alone = [experiment(number) for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(experiment, [*range(8)] * 3))
    for (logits, gate), (expected, expected_gate) in zip(together, alone * 3, strict=True):
        assert torch.equal(logits, expected)
        assert torch.equal(gate, expected_gate)


def test_async_tasks_that_take_turns_never_mix(model, image):
    async def experiment(value):
        with intervene(model, {"E1.1.se.gate": lambda gate: torch.full_like(gate, value)}):
            await asyncio.sleep(0)
            with observe(model, "E1.1.se.gate") as seen:
                await asyncio.sleep(0)
                with torch.no_grad():
                    model(image)
                await asyncio.sleep(0)
            return float(seen["E1.1.se.gate"].unique())

    async def all_of_them():
        return await asyncio.gather(*(experiment(value) for value in (0.25, 0.5, 0.75)))

    assert asyncio.run(all_of_them()) == [0.25, 0.5, 0.75]


def test_a_task_that_outlives_the_block_is_no_longer_changed(model, image):
    async def outlive():
        inside = asyncio.Event()

        async def later():
            await inside.wait()
            with torch.no_grad():
                return model(image)

        with intervene(model, {"E1.1.se.gate": torch.zeros_like}):
            task = asyncio.create_task(later())
            await asyncio.sleep(0)
        inside.set()
        return await task

    with torch.no_grad():
        assert torch.equal(asyncio.run(outlive()), model(image))


def test_a_failure_leaves_nothing_behind_and_names_the_point(model, image):
    def broken(_):
        raise ZeroDivisionError("mine")

    with torch.no_grad():
        expected = model(image)
        with pytest.raises(ZeroDivisionError, match="mine") as caught, observe(model), intervene(model, {"*": broken}):
            model(image)
        assert caught.value.__notes__ == ["This happened in the intervention at embedding.output."]
        assert torch.equal(model(image), expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda gate: gate[:, :1], r"E3\.1\.se\.gate must keep the shape \(2, 128\); it returned \(2, 1\)"),
        (lambda gate: gate.double(), "must keep the dtype torch.float32; it returned torch.float64"),
        (lambda gate: gate.to("meta"), "must keep the device cpu; it returned meta"),
        (lambda gate: gate.tolist(), "must return a tensor, not list"),
        (lambda gate: None, "must return a tensor, not NoneType"),
        (torch.zeros(3), r"it returned \(3,\)"),
    ],
)
def test_a_replacement_that_does_not_fit_is_refused(model, image, change, message):
    with pytest.raises(SkinlesionError, match=message), torch.no_grad(), intervene(model, {"E3.1.se.gate": change}):
        model(image)


def test_unknown_names_list_close_ones(model):
    with pytest.raises(SkinlesionError, match=r"no point 'E3.1.se.gates'; did you mean E3\.1\.se\.gate.*points"):
        observe(model, "E3.1.se.gates").__enter__()
    with pytest.raises(SkinlesionError, match=r"'E9\.\*'"):
        intervene(model, {"E9.*": torch.zeros_like}).__enter__()
    with pytest.raises(SkinlesionError, match="Linear has no points"):
        observe(torch.nn.Linear(1, 1)).__enter__()
    assert points(torch.nn.Linear(1, 1)) == []


@pytest.mark.parametrize(
    ("block", "message"),
    [
        (lambda model: observe(model, 3), "named by strings"),
        (lambda model: intervene(model, ["E3.1.se.gate"]), "as a mapping"),
        (lambda model: intervene(model, {3: torch.zeros_like}), "named by strings"),
        (lambda model: intervene(model, {"E3.1.se.gate": 0.5}), "by a tensor or by a function, not by 0.5"),
    ],
)
def test_arguments_of_the_wrong_type_say_what_is_right(model, block, message):
    with pytest.raises(SkinlesionError, match=message):
        block(model).__enter__()


def test_the_model_itself_is_not_touched(model, image):
    before = copy.deepcopy(model).state_dict()
    names = [name for module in model.modules() for name in vars(module)]
    with torch.no_grad(), observe(model), intervene(model, {"*.gate": torch.ones_like}):
        model(image)
    assert names == [name for module in model.modules() for name in vars(module)]
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


class _Gates(torch.nn.Module):
    """A network that returns gates, and replaces one."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        with intervene(self.model, {"S2.cra.gate_h": torch.ones_like}), observe(self.model, "S2.cra.gate_w") as seen:
            logits = self.model(image)
        return logits, seen["S2.cra.gate_w"]


def test_what_a_network_observes_and_replaces_itself_is_exported_with_it(model, image):
    network = _Gates(model)
    exported = torch.export.export(network, (image,), strict=False).module()
    with torch.no_grad():
        expected = network(image)
        torch.testing.assert_close(exported(image), expected)
        assert not torch.equal(expected[0], model(image))


def test_a_compiled_network_has_no_points(model, image):
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    with torch.no_grad():
        with observe(model, "E1.1.output") as seen:
            torch.testing.assert_close(compiled(image), model(image))
            seen.clear()
            compiled(image)
        assert not seen
    with pytest.raises(SkinlesionError, match="compiled network has no points"):
        points(compiled)


def test_an_intervened_network_shares_weights_and_points(model, image):
    wrapped = Intervened(model, lambda inner: intervene(inner, {"S2.cra.gate_h": torch.ones_like}))
    assert all(a is b for a, b in zip(wrapped.parameters(), model.parameters(), strict=True))
    with torch.no_grad(), observe(wrapped, "S2.cra.gate_h") as seen:
        assert not torch.equal(wrapped(image), model(image))
        wrapped(image)
    assert (seen["S2.cra.gate_h"] == 1).all()
