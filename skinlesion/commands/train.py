"""`skinlesion train`."""

from skinlesion.cli import parse
from skinlesion.errors import SkinlesionError
from skinlesion.training import RECIPES, TrainConfig

_HELP = """Train a network and leave a run folder with weights, metrics, figures and everything needed to repeat it.

--recipe NAME starts from other defaults than the paper's: {recipes}. Flags after it change single values. A run that
was stopped goes on with the same command and --resume."""


def train(args: list[str], *, prog: str) -> None:
    """Train a network. The flags are the fields of `TrainConfig`, whose defaults come from --recipe."""
    recipe, rest = _take_recipe(args)
    default = TrainConfig.from_recipe(recipe)
    description = _HELP.format(recipes=", ".join(RECIPES))
    config = parse(TrainConfig, rest, prog=prog, default=default, description=description)
    from skinlesion.training import train as run  # Lightning takes seconds: flags are checked first

    result = run(config)
    print(f"Next: skinlesion evaluate --weights {result.folder} --data {config.data} --root ... --part test")


train.parses_itself = True  # type: ignore[attr-defined]


def _take_recipe(args: list[str]) -> tuple[str, list[str]]:
    """The value of --recipe, and the other flags."""
    recipe, rest = "paper", []
    words = iter(args)
    for word in words:
        flag, equals, value = word.partition("=")
        if flag != "--recipe":
            rest.append(word)
            continue
        recipe = value if equals else next(words, "")
        if not recipe:
            raise SkinlesionError(f"--recipe needs a name: {', '.join(RECIPES)}.")
    return recipe, rest
