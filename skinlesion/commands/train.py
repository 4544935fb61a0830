"""`skinlesion train`."""

from pathlib import Path

from skinlesion.cli import parse
from skinlesion.errors import SkinlesionError
from skinlesion.extend import import_model
from skinlesion.training import RECIPES, TrainConfig
from skinlesion.training.config_file import read_toml

_HELP = """Train a network and leave a run folder with weights, metrics, figures and everything needed to repeat it.

--recipe NAME starts from defaults other than the paper's: {recipes}. Flags after it change single values. --resume
--out RUN continues a run that was stopped; its options are read from its folder. With a larger --epochs it also
extends a finished run: the learning rate then follows the schedule of the new length. --config run.toml reads
options from a file (names as below with underscores, a table [model] for the network's options); flags override it.
--preset package.module:Network trains a network of your own; see docs/extend.md."""


def train(args: list[str], *, prog: str) -> None:
    """Train a network. The flags are the fields of `TrainConfig`; defaults come from --recipe, or the run to resume."""
    recipe, rest = _take("recipe", f"name: {', '.join(RECIPES)}", args, "paper")
    file, rest = _take("config", "file", rest, "")
    folder, _ = _take("out", "folder", rest, "")
    default = TrainConfig.from_recipe(recipe)
    if file:
        default = read_toml(Path(file), default)
    given = {word.partition("=")[0] for word in rest}
    if "--images" in given and not given & {"--data", "--resume"}:
        rest = [*rest, "--data", "folder"]
    if "--resume" in rest and folder:
        default = TrainConfig.load(Path(folder) / "config.json")
    description = _HELP.format(recipes=", ".join(RECIPES))
    config = parse(TrainConfig, rest, prog=prog, pairs=True, default=default, description=description)
    if ":" in config.preset and "--preset" in given:  # only what was typed is imported
        import_model(config.preset)
    from pytorch_lightning.utilities.rank_zero import rank_zero_only

    from skinlesion.training import train as run  # Lightning takes seconds: flags are checked first

    result = run(config)
    if getattr(rank_zero_only, "rank", 0) == 0:  # under torchrun every process comes here
        print(f"Next: skinlesion evaluate --weights {result.folder} --data {config.data} --root ... --part test")


train.parses_itself = True  # type: ignore[attr-defined]


def _take(name: str, kind: str, args: list[str], default: str) -> tuple[str, list[str]]:
    """The value of a flag, and the other words."""
    value, rest = default, []
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
