"""Groups of steps on the pretend GPU, a process each: `python groups.py GROUP KIND`; KIND is cuda or mps.

Every step is tried, whatever happened to those before it. Each prints a line, a step that failed its traceback too; the
exit code is 1 if one failed.
"""

import inspect
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import skinlesion  # noqa: F401, I001  before torch: it sets how torch's threads wait

import numpy as np
import torch
from pretend import install
from steps import SIDE, TINY, failed, step
from views import dashboard

DEVICE = torch.device(sys.argv[2])


def refused(error: type[Exception], do: Callable[[], object]) -> None:
    """Require an error."""
    try:
        do()
    except error:
        return
    raise AssertionError("this must raise on a GPU")


def pretense(kind: str) -> None:
    """The pretend GPU refuses what a GPU refuses, and nothing else."""
    here, there = torch.rand(3), torch.rand(3, device=DEVICE)
    with step("adding a CPU tensor"):
        refused(RuntimeError, lambda: there + here)
        refused(RuntimeError, lambda: here + there)
        refused(RuntimeError, lambda: torch.stack([here.sum(), there.sum()]))
    with step("writing to a CPU tensor"):
        refused(RuntimeError, lambda: torch.zeros(()).add_(there.sum()))
        assert torch.equal(torch.zeros(3).copy_(there), there.cpu())
    with step("a CPU's weights"):
        refused(RuntimeError, lambda: torch.nn.Linear(3, 2)(there))
    with step("NumPy"):
        refused(TypeError, there.numpy)
        refused(TypeError, lambda: np.asarray(there))
        assert there.cpu().numpy().tolist() == there.tolist()
    with step("a CPU's generator"):
        refused(RuntimeError, lambda: torch.rand(3, generator=torch.Generator(), device=DEVICE))
    with step("scalars and indices may be on the CPU"):
        assert torch.equal((there * torch.tensor(2.0)).cpu(), there.cpu() * 2)
        assert there[torch.tensor([0, 2])].device.type == kind
    with step("float64"):
        if kind == "mps":
            refused(TypeError, there.double)
            refused(TypeError, lambda: torch.zeros(3, dtype=torch.float64, device=DEVICE))
        else:
            assert there.double().cpu().dtype == torch.float64
    with step("the GPU is chosen"):
        from skinlesion.scan import choose_engine, choose_fitting_device

        device = choose_fitting_device("auto" if kind == "cuda" else kind, "auto")
        assert device.type == kind
        assert choose_engine("auto", device) == "triton"
    with step("threads"):
        found: list[torch.Tensor] = []
        thread = threading.Thread(target=lambda: found.append(here.to(DEVICE) + there))
        thread.start()
        thread.join()
        assert torch.equal(found[0].cpu(), here + there.cpu())


def network(kind: str) -> None:
    """Output, loss and every gradient are those of the CPU, bit for bit."""
    from skinlesion import create_model
    from skinlesion.model import set_engine

    def compare(name: str, engines: tuple[str, str] | None, **options: Any) -> None:
        torch.manual_seed(0)
        model = create_model(name, **options).train()
        image = torch.rand(2, 3, SIDE, SIDE)
        found = []
        for device, engine in zip((torch.device("cpu"), DEVICE), engines or ("", ""), strict=True):
            model.to(device).zero_grad()
            if engine:
                set_engine(model, engine, device)
            torch.manual_seed(1)
            logits = model(image.to(device))
            logits.square().mean().backward()
            found.append([logits.detach().cpu(), *(p.grad.cpu() for p in model.parameters() if p.grad is not None)])
        assert len(found[0]) == len(found[1]) > 1
        assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))

    with step("tiny, all modules"):
        compare("tiny", ("cpu", "auto"), **TINY)
    with step("tiny, the reference scan"):
        compare("tiny", ("reference", "reference"), **{**TINY, "depths": (1, 1), "decoder_depths": (1, 1)})
    for name, dim in (("unet", 4), ("malunet", 8)):
        with step(name):
            compare(name, None, dim=dim)


def training(kind: str) -> None:
    """Steps with distillation, validation, and a resumed optimizer."""
    from skinlesion.training import TrainConfig, estimate, trainer
    from skinlesion.training.diagnose import first_nonfinite_layer
    from skinlesion.training.memory import build_model
    from skinlesion.training.module import SegmentationModule

    class Alone(SegmentationModule):
        """A module that needs no Trainer."""

        trainer = SimpleNamespace(world_size=1, global_step=0, global_rank=0)  # type: ignore[assignment]
        log = log_dict = lambda self, *_, **__: None  # type: ignore[assignment]

    with tempfile.TemporaryDirectory() as folder:

        def config(**changes: Any) -> TrainConfig:
            return TrainConfig(
                preset="tiny",
                model=("dim=8", "depths=1,1,1", "decoder_depths=1,1,1", "d_state=2"),
                data="synthetic",
                synthetic_count=10,
                size=SIDE,
                truth_size=48,
                batch_size=4,
                cache_dir=Path(folder),
                **changes,
            )

        data = trainer._make_data(config())
        data.prepare_data()

        def on_gpu(batch: dict[str, Any]) -> Any:
            return {
                name: value.to(DEVICE) if isinstance(value, torch.Tensor) else value for name, value in batch.items()
            }

        def run(options: TrainConfig) -> None:
            module = Alone(build_model(options), options).to(DEVICE).train()
            optimizer = module.configure_optimizers()
            before = [weight.detach().cpu() for weight in module.model.parameters()]
            for index, batch in zip(range(2), data.train_dataloader(), strict=False):
                optimizer.zero_grad()
                module.training_step(on_gpu(batch), index).backward()
                module.configure_gradient_clipping(optimizer)
                optimizer.step()
                if module.average is not None:
                    module.average.update(module.model)
            assert any(not torch.equal(a, b.cpu()) for a, b in zip(before, module.model.parameters(), strict=True))
            module.eval()
            with torch.inference_mode():
                for index, batch in enumerate(data.val_dataloader()):
                    module.validation_step(on_gpu(batch), index)
                module.on_validation_epoch_end()
            module.load_state_dict(module.state_dict())
            module.configure_optimizers().load_state_dict(optimizer.state_dict())

        with step("AdamW, distillation"):
            run(config(clip=1.0))
        with step("Muon, distillation, averaged weights"):
            run(config(optimizer="muon", ema=0.9))
        with step("the estimate"):
            estimate.measure(SegmentationModule(build_model(config()), config()), data, DEVICE)
        with step("the search for a layer that is not finite"):
            model = build_model(config()).to(DEVICE)
            image = torch.full((1, 3, SIDE, SIDE), torch.nan, device=DEVICE)
            assert first_nonfinite_layer(model, lambda: model(image))


def segmenter(kind: str) -> None:
    """The default weights: they have a temperature and an out-of-distribution score."""
    from skinlesion import Segmenter
    from skinlesion.checkpoint import save_checkpoint
    from skinlesion.data.layouts import Sample
    from skinlesion.data.samples import bundled_samples
    from skinlesion.evaluation import evaluate
    from skinlesion.model.cost import count_cost
    from skinlesion.prediction import predict_files

    on_cpu, on_gpu = (Segmenter.from_pretrained("general", device=device) for device in ("cpu", DEVICE))
    assert on_gpu.temperature != 1
    assert on_gpu.domain is not None
    photo = np.random.default_rng(0).integers(0, 255, (90, 130, 3), dtype=np.uint8)
    samples = [Sample(each.id, each.image_path, each.mask_path) for each in bundled_samples()[:2]]
    for tta in (False, "flips"):
        with step(f"segment, tta {tta}"):
            a, b = on_cpu.segment(photo, tta=tta), on_gpu.segment(photo, tta=tta)
            np.testing.assert_allclose(a.probability, b.probability, atol=1e-5)
            np.testing.assert_allclose(a.ood_score, b.ood_score, atol=1e-3)
    with step("segment a tensor of the GPU"):
        on_gpu.segment(torch.rand(3, 40, 50, device=DEVICE))
    with step("evaluate by groups"):
        a, b = (evaluate(each, samples, by=("tone", "size", "border")) for each in (on_cpu, on_gpu))
        assert abs(a.report["pooled"]["iou"] - b.report["pooled"]["iou"]) < 1e-3
    with step("count_cost"):
        assert count_cost(on_gpu.model, 64, 64) == count_cost(on_cpu.model, 64, 64)
    with tempfile.TemporaryDirectory() as folder:
        with step("predict_files"):
            result = predict_files(on_gpu, [samples[0].image], Path(folder) / "masks", jobs=1)
            assert not result.failed, result.failed
        with step("save_checkpoint"):
            save_checkpoint(Path(folder) / "copy.safetensors", on_gpu.model, on_gpu.card)


def explanations(kind: str) -> None:
    """Every function of `skinlesion.explain` that takes a network."""
    from skinlesion import create_model, explain

    called: set[str] = set()

    class Noted:
        """`skinlesion.explain`, noting what is used of it."""

        def __getattr__(self, name: str) -> Any:
            called.add(name)
            return getattr(explain, name)

    use = Noted()
    torch.manual_seed(0)
    model = create_model("tiny", **TINY).eval().to(DEVICE)
    image, other = torch.rand(2, 1, 3, SIDE, SIDE).to(DEVICE)
    region = np.zeros((SIDE, SIDE), bool)
    region[8:20, 8:22] = True
    steps: dict[str, Callable[[], object]] = {
        "predicted_region": lambda: use.predicted_region(model, image),
        "cra_gates": lambda: use.cra_gates(model, image),
        "se_gates": lambda: use.se_gates(model, image),
        "excitation": lambda: use.excitation(model, image, "E1.1"),
        "read": lambda: use.read(model, image, "E1.1.output"),
        "layers": lambda: use.layers(model),
        "feature_maps": lambda: use.feature_maps(model, image),
        "architecture": lambda: use.architecture(model, SIDE, SIDE),
        "layer_sizes": lambda: use.layer_sizes(model, SIDE, SIDE),
        "scan_inputs": lambda: use.step_maps(use.scan_inputs(model, image, "E1.1")),
        "ablatable_parts": lambda: use.ablated_model(model, use.ablatable_parts(model))(image),
        "ablated": lambda: use.ablated(model, ["cra"]).__enter__(),
        "ablation_effects": lambda: use.module_summaries(
            use.outcomes(model, torch.cat([image, other, image])), 0, use.ablation_effects(model, image)
        ),
        "patch_effects": lambda: use.patch_effects(model, image, other),
        "set_channel": lambda: use.outcomes(model, image, use.set_channel("E1.1", 0, 0.5)),
        "set_line": lambda: use.outcomes(model, image, use.set_line("S2", "h", 0, 0.5)),
        "gate_points": lambda: use.gate_points(model, "S2"),
        "to_mean": lambda: use.outcomes(model, image, use.to_mean(model, "S2")),
        "to_other": lambda: use.outcomes(model, image, use.to_other(model, "S2", other)),
        "to_shuffled": lambda: use.outcomes(model, image, use.to_shuffled(model, "E1.1", 3)),
        "receptive_field": lambda: use.receptive_field(model, image),
        "receptive_field of a layer": lambda: use.receptive_field(model, image, layer="E2.1"),
        "redundancy_by_depth": lambda: use.redundancy_by_depth(model, image),
        "shuffled_copy": lambda: use.shuffled_copy(use.shared_copy(model))(image),
        "random_control": lambda: use.random_control(model, image, region),
        "stamped": lambda: use.stamped(
            image, [use.Stamp("paint", 0.5, 0.5, 0.2), use.Stamp("move", 0.3, 0.5, 0.2, (0.6, 0.6))], region
        ),
    }
    for change in (explain.Shift(3, -4), explain.Rotate(1), explain.Cover(region)):
        steps[f"gate_response {type(change).__name__}"] = lambda c=change: use.gate_response(model, image, c)
    for baseline in ("skin", "blur", "black"):
        steps[f"baseline_image {baseline}"] = lambda b=baseline: use.baseline_image(image, region, b)
    for direction in ("reads", "writes"):
        for way in ("norm", "sum", "contribution"):
            steps[f"implicit_attention {direction} {way}"] = lambda d=direction, r=way: use.implicit_attention(
                explain.scan_inputs(model, image, "E1.1"), (2, 3), direction=d, reduction=r
            )
    for method, layer in (("integrated_gradients", None), ("grad_cam", "D1.1"), ("occlusion", None)):
        steps[f"attribute {method}"] = lambda m=method, n=layer: use.attribute(
            model, image, region, m, steps=4, layer=n
        )
    control = explain.Curves(np.linspace(0, 1, 11), np.zeros(11), np.zeros(11))
    map_ = np.random.default_rng(0).random((SIDE, SIDE), dtype=np.float32)
    attribution = explain.Attribution("occlusion", None, map_, region, 0.0, 0.0, 0.0)
    steps["faithfulness"] = lambda: use.faithfulness(model, image, attribution, control)
    for name, do in steps.items():
        with step(name):
            do()
    with step("nothing left out"):
        functions = {name: getattr(explain, name) for name in explain.__all__ if name[0].islower()}
        of_model = {name for name, each in functions.items() if "model" in inspect.signature(each).parameters}
        assert not of_model - called, of_model - called


def main() -> int:
    group, kind = sys.argv[1:]
    install(kind)
    groups = (pretense, network, training, segmenter, explanations, dashboard)
    {each.__name__: each for each in groups}[group](kind)
    print(f"{len(failed)} failed: {failed}" if failed else "all ok")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
