"""The command line: finds the command, parses its flags from its signature, and reports errors in one line.

A command is a function whose parameters are its flags and whose docstring is its help. It is imported only when it is
asked for, so that `skinlesion data synthesize` does not wait for Lightning. It returns an exit code or None for 0.
"""

import contextlib
import functools
import inspect
import io
import os
import re
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

from skinlesion.errors import FULL, MachineError, SkinlesionError, is_out_of_memory
from skinlesion.streams import discard_output, mend, say
from skinlesion.text import printable
from skinlesion.version import __version__

# Words on the command line -> where the function is, and its line in the list of commands.
COMMANDS: dict[str, tuple[str, str]] = {
    "doctor": ("skinlesion.commands.doctor:doctor", "say what this machine can do, and how fast"),
    "demo": ("skinlesion.commands.demo:demo", "segment the images that come with the package"),
    "predict": ("skinlesion.commands.predict:predict", "segment your own images"),
    "evaluate": ("skinlesion.commands.evaluate:evaluate", "evaluate weights on images with masks"),
    "train": ("skinlesion.commands.train:train", "train a network"),
    "dashboard": ("skinlesion.commands.dashboard:dashboard", "open the app in a browser"),
    "lab": ("skinlesion.commands.lab:lab", "copy the lessons into your own folder and open them"),
    "course": ("skinlesion.commands.course:course", "list the lessons and what you have passed"),
    "course grade": ("skinlesion.commands.course_grade:grade", "check the notebooks of a class"),
    "export": ("skinlesion.commands.export:export", "share weights with their results and a model card"),
    "push": ("skinlesion.commands.push:push", "upload weights to the Hugging Face Hub"),
    "calibrate": (
        "skinlesion.commands.calibrate:calibrate",
        "calibrate confidence; detect out-of-distribution images",
    ),
    "average": ("skinlesion.commands.average:average", "average the weights of several checkpoints of one run"),
    "import-weights": (
        "skinlesion.commands.import_weights:import_weights",
        "convert a published VM-UNet or VMamba checkpoint to this package's format",
    ),
    "reproduce": ("skinlesion.commands.reproduce:reproduce", "run the paper's comparison, or report on it"),
    "benchmark scan": ("skinlesion.commands.benchmark:scan", "time the scan's engines and their peers"),
    "benchmark model": ("skinlesion.commands.benchmark:model", "time the whole network"),
    "data download": ("skinlesion.commands.data:download", "fetch an ISIC dataset from its official address"),
    "data verify": ("skinlesion.commands.data:verify", "check every image and mask of a dataset"),
    "data duplicates": ("skinlesion.commands.data:duplicates", "search a dataset for the same photo under two names"),
    "data synthesize": ("skinlesion.commands.data:synthesize", "generate a dataset of synthetic lesions"),
}
_DRAWN = re.compile(r"\x1b\[[0-9;]*m|[│╭╮╰╯]")  # colors and borders
_PARSED_CLASS = re.compile(r"^Error parsing \w+: ")  # before the message of a config that refuses its values
# Modules that the core installation lacks -> the extra that has them.
_EXTRAS = {
    **dict.fromkeys(("pytorch_lightning", "albumentations", "cv2", "matplotlib", "tensorboard"), "train"),
    **dict.fromkeys(("captum", "plotly"), "explain"),
    **dict.fromkeys(("streamlit", "pandas"), "app"),
    **dict.fromkeys(("IPython", "ipywidgets", "jupyterlab"), "course"),
    **dict.fromkeys(("onnx", "onnxscript", "onnxruntime"), "onnx"),
    "submitit": "slurm",
}
_EXTRA_OF_COMMAND = {"course": "course", "lab": "course", "dashboard": "app"}  # which several extras could serve
_LONGEST = 2000  # characters of a message
FAILED = 1
WRONG_INPUT = 2
INTERRUPTED = 130  # 128 + SIGINT, as a shell reports it


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: the arguments after `skinlesion`; by default those of this process.

    Returns:
        0; 1 if the machine lacks a resource (a full disk, too little memory); 2 for any other error that the user can
        fix; 130 after Ctrl-C. Every code but 0 comes with one line on stderr. A bug raises an exception.
    """
    args = list(sys.argv[1:] if argv is None else argv)
    mend()
    try:
        _refuse_empty(args)
        code = _dispatch(args)
        sys.stdout.flush()
        return code
    except MachineError as error:
        return _fail(str(error), FAILED)
    except SkinlesionError as error:
        return _fail(str(error))
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in _EXTRAS:
            raise
        extra = _EXTRA_OF_COMMAND.get(args[0], _EXTRAS[missing])
        return _fail(f"This command needs {missing}: pip install 'skinlesion[{extra}]'.")
    except KeyboardInterrupt as interrupt:
        return _fail(str(interrupt) or "Interrupted.", INTERRUPTED)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        return _fail("Out of memory. Close other programs, or use smaller images, batches or networks.", FAILED)
    except BrokenPipeError:
        discard_output()  # its reader has gone (`| head`)
        return 0
    except OSError as error:
        return _fail(*_surroundings(error))


def _surroundings(error: OSError) -> tuple[str, int]:
    """The message and the exit code for an error of the operating system."""
    if error.filename is not None:
        return f"{error.filename}: {error.strerror}.", FAILED if error.errno in FULL else WRONG_INPUT
    if error.errno in FULL:
        return f"The output cannot be written ({error.strerror}).", FAILED
    return f"The operating system refused an operation that this command needs: {error.strerror or error}.", FAILED


def parse(target: Callable[..., Any], args: Sequence[str], *, prog: str, pairs: bool = False, **options: Any) -> Any:
    """Build or call `target` from command-line flags.

    Args:
        target: a dataclass or a function.
        args: the flags.
        prog: the command, for messages.
        pairs: give every switch two flags, --name and --no-name, whatever its default is.
        **options: for `tyro.cli`.

    Raises:
        SkinlesionError: the flags do not fit; one line that says how.
        SystemExit: with code 0, after --help.
    """
    import tyro

    from skinlesion.flags import flag_types

    if "description" in options:
        options["description"] = _unwrapped(options["description"])
    style = () if pairs else (tyro.conf.FlagCreatePairsOff,)
    messages = io.StringIO()
    try:
        with flag_types, contextlib.redirect_stderr(messages):
            return tyro.cli(
                target,
                args=args,
                prog=prog,
                config=(*style, tyro.conf.OmitArgPrefixes),
                **options,
            )
    except SystemExit as error:
        if not error.code:
            raise
        hint = "".join(f" Is {word} a file? Then give it as ./{word}." for word in args if _is_dashed_file(word))
        raise SkinlesionError(f"{_one_line(messages.getvalue())}{hint} See `{prog} --help`.") from None


def _is_dashed_file(word: str) -> bool:
    """Whether a word that looks like a flag is a file of the current folder."""
    return word.startswith("-") and os.path.lexists(word)


def _dispatch(args: list[str]) -> int:
    if not args or args[0] in ("-h", "--help", "help"):
        print(_overview())
        return 0
    if args[0] in ("-V", "--version"):
        print(f"skinlesion {__version__}")
        return 0
    words = next((n for n in (2, 1) if " ".join(args[:n]) in COMMANDS), 0)
    name = " ".join(args[:words])
    if not words:
        inner = [command for command in COMMANDS if command.split()[0] == args[0]]
        if inner and args[1:2] in ([], ["-h"], ["--help"]):
            print(_overview(inner))
            return 0
        raise SkinlesionError(
            f"Unknown command {' '.join(args[: 2 if inner else 1])!r}; choose one of: {', '.join(inner or COMMANDS)}."
        )
    _require_current_folder()
    module, _, function = COMMANDS[name][0].partition(":")
    command = getattr(import_module(module), function)
    prog, rest = f"skinlesion {name}", args[words:]
    try:
        if getattr(command, "parses_itself", False):
            return command(rest, prog=prog) or 0
        return parse(_deferred(command), rest, prog=prog)() or 0
    except SystemExit as error:  # --help
        if error.code:
            raise
        return 0


def _refuse_empty(args: list[str]) -> None:
    """Reject empty arguments: usually a script's unset variable, which as a path would mean the current folder."""
    for before, word in zip(["", *args], args, strict=False):
        if word == "" or (word.startswith("--") and word.endswith("=")):
            where = f" at {word or before}" if word or before else ""
            raise SkinlesionError(f"A value is empty{where}: is a shell variable unset?")


def _require_current_folder() -> None:
    """Relative paths, PyTorch and others need one; some of them end the process without it."""
    try:
        os.getcwd()
    except OSError as error:
        raise SkinlesionError("The current folder is gone: change to another one and try again.") from error


def _deferred(command: Callable[..., Any]) -> Callable[..., Callable[[], Any]]:
    """The same signature, but a call only binds the arguments: parsing and running must fail differently."""

    def bind(*args: Any, **kwargs: Any) -> Callable[[], Any]:
        return functools.partial(command, *args, **kwargs)

    bind.__name__ = command.__name__
    bind.__doc__ = _unwrapped(command.__doc__ or "")
    bind.__signature__ = inspect.signature(command)  # type: ignore[attr-defined]
    bind.__annotations__ = {**command.__annotations__, "return": Callable[[], Any]}
    return bind


def _unwrapped(text: str) -> str:
    """A docstring with each paragraph and each argument on one line: tyro would keep some of the line breaks."""
    lines: list[str] = []
    for line in inspect.cleandoc(text).splitlines():
        argument = re.match(r" {4}\w+: ", line)
        if lines and lines[-1] and line and not argument and lines[-1] != "Args:":
            lines[-1] += f" {line.strip()}"
        else:
            lines.append(line)
    return "\n".join(lines)


def _overview(names: Sequence[str] = tuple(COMMANDS)) -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:{width}}  {COMMANDS[name][1]}" for name in names]
    return "\n".join(
        [
            "usage: skinlesion COMMAND [OPTIONS]",
            "",
            *lines,
            "",
            "`skinlesion COMMAND --help` lists a command's options.",
        ]
    )


def _one_line(box: str) -> str:
    """The text of tyro's error box as one sentence, without its frame, colors, title, hints and help texts."""
    lines = [_DRAWN.sub("", line).strip() for line in box.strip().splitlines()]
    sections: list[list[str]] = [[]]
    for line in lines[1:]:
        if not line.strip("─-"):
            sections.append([])
        else:
            sections[-1].append(line)
    kept = [" ".join(part) for part in sections if part and not part[0].startswith(("For full", "Argument help"))]
    text = _PARSED_CLASS.sub("", "; ".join(kept) or " ".join(lines))
    return text if text.endswith((".", "?", "!")) else f"{text}."


def _fail(message: str, code: int = WRONG_INPUT) -> int:
    if len(message) > _LONGEST:  # a list of thousands of names says no more than its beginning
        message = f"{message[:_LONGEST]} ..."
    say(f"skinlesion: {printable(' '.join(message.split()))}")
    return code
