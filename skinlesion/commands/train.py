"""`skinlesion train`."""

import dataclasses
import shlex
from pathlib import Path

from skinlesion.cli import parse
from skinlesion.data.splits import Manifest
from skinlesion.errors import SkinlesionError
from skinlesion.extend import import_model
from skinlesion.training import RECIPES, TrainConfig
from skinlesion.training.config_file import read_toml

_HELP = """Train a network and write a run folder with weights, metrics, figures and everything needed to repeat it.

Choose the defaults with --recipe NAME: {recipes} (default: paper). Other flags override single values. To continue a
run that was stopped, use --resume --out RUN; its options are read from its folder. With a larger --epochs, this also
extends a finished run: the learning rate then follows the schedule of the new length. To read options from a file
(names as below with underscores, a table [model] for the network's options), use --config run.toml; flags override
the file. To train your own network, use --preset package.module:Network; see docs/extend.md."""


def train(args: list[str], *, prog: str) -> None:
    """Train a network. The flags are the fields of `TrainConfig`; defaults come from --recipe, or the run to resume."""
    recipe, rest = _take("recipe", f"name: {', '.join(RECIPES)}", args)
    file, rest = _take("config", "file", rest)
    folder, _ = _take("out", "folder", rest)
    resumes = "--resume" in rest and folder != ""
    if resumes and (file or recipe):
        flag = "--config" if file else "--recipe"
        raise SkinlesionError(
            f"{flag} cannot be combined with --resume --out: a resumed run keeps its options, and flags such as "
            "--epochs may be passed instead."
        )
    default = TrainConfig.from_recipe(recipe or "paper")
    if file:
        default = read_toml(Path(file), default)
    given = {word.partition("=")[0] for word in rest}
    if "--images" in given and not given & {"--data", "--resume"}:
        rest = [*rest, "--data", "folder"]
    if resumes:
        default = TrainConfig.load(Path(folder) / "config.json")
    description = _HELP.format(recipes=", ".join(RECIPES))
    config = parse(TrainConfig, rest, prog=prog, pairs=True, default=default, description=description)
    if ":" in config.preset and "--preset" in given:  # only what was typed is imported
        import_model(config.preset)
    from pytorch_lightning.utilities.rank_zero import rank_zero_only

    from skinlesion.training import train as run  # Lightning takes seconds: flags are checked first

    result = run(config)
    if getattr(rank_zero_only, "rank", 0) == 0:  # under torchrun every process comes here
        print(f"Next: {_next_command(config, result.folder)}")


def _next_command(config: TrainConfig, folder: Path) -> str:
    """What to type next: an evaluation on the same data and split."""
    source = config.source
    if source.root is None and source.images is None:  # synthetic images that are in no folder
        return shlex.join(["skinlesion", "predict", "PHOTO.jpg", "--weights", str(folder), "--out", "results"])
    words = ["skinlesion", "evaluate", "--weights", str(folder), "--data", config.data]
    for field in dataclasses.fields(source):
        value, flag = getattr(source, field.name), "--" + field.name.replace("_", "-")
        if value is not None and value is not False:
            words += [flag] if value is True else [flag, str(value)]
    manifest = folder / "manifest.json"
    part = "test" if Manifest.load(manifest).parts["test"] else "val"
    return shlex.join([*words, "--split", str(manifest), "--part", part])


train.parses_itself = True  # type: ignore[attr-defined]


def _take(name: str, kind: str, args: list[str]) -> tuple[str, list[str]]:
    """The value of a flag, "" if it isn't given, and the other words."""
    value, rest = "", []
    words = iter(args)
    for word in words:
        flag, equals, text = word.partition("=")
        if flag != f"--{name}":
            rest.append(word)
            continue
        value = text if equals else next(words, "")
        if not value:
            raise SkinlesionError(f"--{name} needs a {kind}.")
    return value, rest
