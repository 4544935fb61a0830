"""Everything that defines a training run, in one object that a command line, a file and a checkpoint can hold."""

import dataclasses
import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from skinlesion.data.groups import Balance
from skinlesion.data.images import Normalization
from skinlesion.data.mask_values import MaskRules
from skinlesion.data.source import DataSource
from skinlesion.device import check_device_name
from skinlesion.errors import SkinlesionError
from skinlesion.protocol import TRUTH_SIZE
from skinlesion.schema import read_json
from skinlesion.text import printable
from skinlesion.training.config_checks import check_ranges, check_types, parse_option
from skinlesion.training.recipes import RECIPES
from skinlesion.training.schedule import Schedule

_PATHS = ("root", "images", "masks", "groups", "out", "cache_dir")
_OLD_DEVICE = "accelerator"  # what version 0.1 called `device`
Precision = Literal["32", "bf16-mixed", "16-mixed"]
SelectBy = Literal["val_iou", "last", "test_loss"]

# Fields that may differ between a run and its resumption: they change where it runs, not what it computes. (The split
# is compared by the ids that it gives.)
NOT_COMPARED = {
    *("out", "root", "images", "masks", "groups", "split", "split_seed", "cache_dir", "resume", "estimate"),
    *("num_workers", "threads", "device", "devices", "num_nodes"),
}


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """A training run. The defaults are the paper's recipe.

    Raises:
        SkinlesionError: a value is out of range, or two cannot be combined; the message names the flags.
    """

    preset: str = "paper"
    """The network: paper, small, tiny, vmunet, or a system that the paper compares with.
    These are unet, attention_unet, unetpp, lvunet, utnetv2, transfuse, malunet, medmamba and hcmamba.
    These don't support feature distillation: train them with --w-cfd 0 --w-ifd 0."""
    model: tuple[str, ...] = ()
    """Options of the network, such as dim=24 se=false depths=1,1,1,1."""
    start_from: str | None = None
    """Weights of the same network to start from: small, a file or a run folder. Default: random weights."""

    data: str = ""
    """The layout: folder (any folders of images and masks), isic2016, isic2017, isic2018, vmunet or synthetic.
    By default folder with --images, otherwise isic2017."""
    root: Path | None = None
    """The folder that holds the data; synthetic needs none."""
    images: Path | None = None
    """The folder of images, instead of --root; with --masks."""
    masks: Path | None = None
    """The folder of masks that belong to --images."""
    groups: Path | None = None
    """Table of images that belong together (columns image and lesion_id, say): they stay on one side of a split.
    By default groups.csv in --root."""
    mask_threshold: int | None = None
    """Lowest gray value (1 to 255) that counts as lesion in masks with soft edges or JPEG compression."""
    resize_masks: bool = False
    """Resize masks whose size differs from their image's."""
    invert_masks: bool = False
    """Black pixels are the lesion."""
    split: str | None = None
    """paper, official, random, or a saved manifest (a .json file). Default: paper for the ISIC datasets."""
    split_seed: int | None = None
    """Seed for drawing the split."""
    size: int = 256
    """Side of the network's input, in pixels."""
    truth_size: int = TRUTH_SIZE
    """Side of the masks that validation measures against; predictions are resized to it."""
    synthetic_count: int = 64
    """Number of images to generate for --data synthetic without --root."""
    augmentation: Literal["none", "paper", "strong", "zoom", "skin"] = "paper"
    """paper: flips and rotation (A31). strong: quarter turns, affine maps and color too.
    zoom: strong with crops around the lesion, magnified 0.8 to 2.2 times and stretched by up to 30%.
    skin: zoom with darker skin in half of the images."""
    balance: Balance = "none"
    """tone: show images with tan, brown and dark backgrounds three times per epoch."""
    normalize: Normalization = "minmax"
    """Per-image minimum and maximum to [0, 1], or to [0, 255] as VM-UNet does (A32)."""
    cache_dir: Path | None = None
    """Folder for the cache of decoded images; by default in the user's cache folder."""

    epochs: int = 300
    """Passes over the training set."""
    batch_size: int = 32
    """Images in one step, over all devices together."""
    accumulate: int = 1
    """Parts in which a batch is computed, one after the other, if memory is too small for all of it at once.
    The step is the same except for batch normalization, which uses one part at a time."""
    optimizer: Literal["adamw", "muon"] = "adamw"
    """adamw, as in the paper; muon: Muon for the linear layers' weights, AdamW for the rest, which learns faster."""
    lr: float = 1e-3
    """Highest learning rate of AdamW; Muon's is 2.5 times that."""
    min_lr: float = 1e-5
    """Lowest learning rate."""
    weight_decay: float = 1e-2
    """Decoupled weight decay, on all weights (A30)."""
    schedule: Schedule = "cosine"
    """cosine: decays over the whole run. onecycle: rises, then decays.
    paper: alternately decays and rises, over --t-max epochs each (A29)."""
    t_max: float = 50
    """Epochs per half cycle of --schedule paper."""
    warmup_epochs: float = 0
    """Length of the linear learning-rate warmup, in epochs."""
    clip: float | None = None
    """Clip the gradient norm to at most this value."""
    ema: float | None = None
    """Decay of an exponential moving average of the weights; the average is what is validated and saved."""
    precision: Precision = "32"
    """Number format; the mixed ones are for GPUs."""
    seed: int = 42
    """Seed for weights, order, augmentation and drop path."""

    w_bce: float = 0.3
    """Weight of binary cross entropy (eq. 11)."""
    w_dice: float = 0.7
    """Weight of the Dice loss (eq. 11)."""
    loss: str = "bce_dice"
    """bce_dice, or a loss of your own (see docs/extend.md)."""
    w_cfd: float = 0.015
    """Weight of cross-feature distillation (eq. 8)."""
    w_ifd: float = 0.015
    """Weight of internal feature distillation (eq. 9)."""
    teacher: Literal["block", "expanded"] = "block"
    """The distillation's teacher: the last D1 block, or the map after the final expansion (A16)."""
    rcs: Literal["two_sided", "one_sided", "mean"] = "two_sided"
    """How channels are matched: selected at random in both maps or in the student only, or in expectation (A18)."""
    distance: Literal["mean", "sum"] = "mean"
    """Squared feature distances averaged or summed (A20)."""
    detach_teacher: bool = True
    """The teacher is a fixed target (A22)."""
    halves: Literal["ranked", "index"] = "ranked"
    """How internal distillation splits the channels into halves (A23)."""
    detach_shallow: bool = False
    """Internal distillation's shallow half is a fixed target (A24)."""
    grouping: Literal["eq", "selfreg"] = "eq"
    """Averages as in eqs. 8 and 9, or SelfReg-UNet's larger sums (A21)."""

    select_by: SelectBy = "val_iou"
    """Which epoch is kept. val_iou: the one with the best IoU on the validation set. last: the last one.
    test_loss: the one with the lowest loss on the test set, while training on all the rest, as VM-UNet does (A34).
    Its test scores are then too high."""
    device: str = "auto"
    """Where to train: auto (a CUDA GPU if there is one), cpu, cuda, cuda:1, or mps (Apple, without a fast scan)."""
    devices: int = 1
    """Processes on this machine, one per GPU or several on the CPU."""
    num_nodes: int = 1
    """Machines."""
    num_workers: int = 0
    """Number of data-loading processes."""
    threads: int | None = None
    """Threads for PyTorch; by default PyTorch's own choice."""
    engine: str = "auto"
    """Scan engine, see `skinlesion doctor`."""
    estimate: bool = True
    """Time a few steps first and say how long the run will take."""
    out: Path | None = None
    """The run folder to create; by default runs/PRESET-DATA."""
    resume: bool = False
    """Continue the run in --out where it stopped."""

    def __post_init__(self) -> None:
        if self.data == "":
            object.__setattr__(self, "data", "isic2017" if self.images is None else "folder")
        for name in _PATHS:
            if isinstance(value := getattr(self, name), str):
                object.__setattr__(self, name, Path(value))
        for name in ("start_from", "split"):  # a name or a path
            if isinstance(value := getattr(self, name), Path):
                object.__setattr__(self, name, str(value))
        check_types(self)
        check_ranges(self)
        MaskRules(self.mask_threshold)
        if self.warmup_epochs and self.schedule == "onecycle":
            raise SkinlesionError(
                "--warmup-epochs cannot be combined with --schedule onecycle, which has its own warmup."
            )
        if self.warmup_epochs >= self.epochs:
            raise SkinlesionError(f"--warmup-epochs {self.warmup_epochs} must be less than --epochs {self.epochs}.")
        if self.min_lr > self.lr:
            raise SkinlesionError(f"--min-lr {self.min_lr} must not be above --lr {self.lr}.")
        if self.optimizer == "muon" and self.precision == "16-mixed":
            raise SkinlesionError(
                "--optimizer muon cannot be combined with --precision 16-mixed; use 32 or bf16-mixed."
            )
        if self.batch_size % (self.processes * self.accumulate):
            raise SkinlesionError(
                f"--batch-size {self.batch_size} is the total over all devices and must be a multiple of "
                f"--devices x --num-nodes x --accumulate = {self.processes * self.accumulate}."
            )
        if self.precision == "16-mixed" and self.device == "cpu":
            raise SkinlesionError("--precision 16-mixed cannot be combined with --device cpu; use 32 or bf16-mixed.")
        check_device_name(self.device)
        if self.processes > 1 and ":" in self.device:
            raise SkinlesionError(
                f"--device {self.device} names one GPU; use --device cuda with --devices or --num-nodes."
            )
        self.model_options()

    @property
    def distills(self) -> bool:
        """Whether the loss includes feature distillation."""
        return self.w_cfd > 0 or self.w_ifd > 0

    @property
    def processes(self) -> int:
        """How many processes train together."""
        return self.devices * self.num_nodes

    @property
    def part_size(self) -> int:
        """Number of images that a process handles at once."""
        return self.batch_size // (self.processes * self.accumulate)

    @property
    def source(self) -> DataSource:
        """Where the data come from."""
        options = {field.name: getattr(self, field.name) for field in dataclasses.fields(DataSource)}
        return DataSource(**options)

    @property
    def folder(self) -> Path:
        """The run folder."""
        return self.out if self.out is not None else Path("runs") / f"{self.preset}-{self.data}"

    def model_options(self) -> dict[str, Any]:
        """`model` as keyword arguments for `create_model`."""
        options: dict[str, Any] = {}
        for item in self.model:
            name, equals, value = item.partition("=")
            if not (name.isidentifier() and equals and value):
                raise SkinlesionError(
                    f"--model {item} is not NAME=VALUE, such as --model dim=24 se=false; "
                    "a network is chosen with --preset."
                )
            options[name] = parse_option(value)
        return options

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        values = dataclasses.asdict(self)
        return {
            name: str(value) if isinstance(value, Path) else list(value) if isinstance(value, tuple) else value
            for name, value in values.items()
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "TrainConfig":
        """The inverse of `to_json`.

        Raises:
            SkinlesionError: an unknown field, or a value that `TrainConfig` rejects.
        """
        valid = {field.name for field in dataclasses.fields(cls)}
        if unknown := sorted(set(values) - valid):
            some = printable(", ".join(unknown[:5]))
            near = difflib.get_close_matches(unknown[0].replace("-", "_"), valid, n=1)
            hint = f" (did you mean {near[0]}?)" if near else ""
            if unknown[0] == _OLD_DEVICE:
                hint = " (it is now called device)"
            raise SkinlesionError(f"Unknown training option {some}{hint}; this version does not have it.")
        model = values.get("model", ())
        return cls(**{**values, "model": tuple(model) if isinstance(model, list) else model})

    @classmethod
    def load(cls, path: str | Path) -> "TrainConfig":
        """Read a run's config.json, also one that an earlier version wrote.

        Raises:
            SkinlesionError: the file is missing or is not a config.
        """
        try:
            return cls.from_json(_with_device(read_json(Path(path), dict[str, Any])))
        except SkinlesionError as error:
            label = printable(path)
            text = str(error) if label in str(error) else f"{label}: {error}"
            raise SkinlesionError(f"There is no run to resume: {text}") from error

    @classmethod
    def from_recipe(cls, recipe: str, **changes: Any) -> "TrainConfig":
        """A named recipe, with some values changed.

        Args:
            recipe: a key of `RECIPES`.
            **changes: fields of this class, which override the recipe's.

        Raises:
            SkinlesionError: the recipe is unknown.
        """
        if recipe not in RECIPES:
            raise SkinlesionError(f"Unknown recipe {recipe!r}; choose one of: {', '.join(RECIPES)}.")
        return cls(**{**RECIPES[recipe], **changes})


def _with_device(values: dict[str, Any]) -> dict[str, Any]:
    """The values of a config.json, also of a run of an earlier version: then the old option is read as `device`."""
    if _OLD_DEVICE not in values or "device" in values:
        return values
    others = dict(values)
    old = others.pop(_OLD_DEVICE)
    return others | {"device": "cuda" if old == "gpu" else old}
