"""Configs of networks, and the presets."""

from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Self

from skinlesion.errors import SkinlesionError


def _checked(name: str, value: Any, default: Any) -> Any:
    """An option's value if it has the type of its default; lists, which JSON has instead of tuples, become tuples."""
    if isinstance(default, bool):
        valid, kind = isinstance(value, bool), "true or false"
    elif isinstance(default, float):
        valid, kind = isinstance(value, float | int) and 0 <= value < 1, "in [0, 1)"
    elif isinstance(default, tuple):
        value = tuple(value) if isinstance(value, list) else value
        valid = isinstance(value, tuple) and value != () and all(map(_is_count, value))
        kind = "a list of positive integers"
    else:
        valid = _is_count(value) or (default is None and value is None)
        kind = "at least 1" if isinstance(value, int) else "a positive integer"
    if not valid:
        raise SkinlesionError(f"{name} must be {kind}; got {value!r}.")
    return value


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


@dataclass(frozen=True, kw_only=True)
class Config:
    """The base of all networks' configs. Options are positive integers, lists of them, floats in [0, 1) or booleans.

    Raises:
        SkinlesionError: a value doesn't have the type of its default.
    """

    def __post_init__(self) -> None:
        for field in fields(self):
            value = _checked(field.name, getattr(self, field.name), field.default)
            object.__setattr__(self, field.name, value)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for a checkpoint's header."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """The inverse of `to_dict`.

        Raises:
            SkinlesionError: a name is unknown; the message lists the valid ones.
        """
        return cls().override(**values)

    def override(self, **values: Any) -> Self:
        """A copy with some values changed.

        Raises:
            SkinlesionError: a name is unknown; the message lists the valid ones.
        """
        valid = [field.name for field in fields(self)]
        unknown = sorted(set(values) - set(valid))
        if unknown:
            raise SkinlesionError(f"Unknown model option {', '.join(unknown)}; the options are: {', '.join(valid)}.")
        return replace(self, **values)


@dataclass(frozen=True, kw_only=True)
class ModelConfig(Config):
    """Everything that decides the network's shape. The defaults are the paper's network.

    Attributes:
        dim: channels C after patch embedding (paper section 3.1).
        depths: CM-SSM blocks in each encoder stage.
        decoder_depths: CM-SSM blocks in each decoder stage, deepest first.
        patch_size: side r of the embedded patches (A1).
        in_channels: channels of the image.
        d_state: states N of each channel (A2).
        expand: SS2D's inner width over its outer width (A3).
        dt_rank: rank of the step-size projection; None for ceil(width / 16) of each stage (A3).
        se: squeeze-and-excitation inside SS2D (A4).
        se_ratio: inner width over squeezed width (A5).
        cmn: the channel-mixing network after SS2D (A6).
        cmn_ratio: mixed width over width (A7).
        cmn_residual: t + DWConv(t) rather than DWConv(t) (A8).
        cra: cross-region attention on the skips (A12).
        cra_ratio: channels over squeezed channels (A13).
        conv_init: initialize the pointwise layers of CMN and CRA as PyTorch does a 1 x 1 convolution, like their
            ancestors; False for VM-UNet's truncated normal weights of standard deviation 0.02 and zero biases (A40).
        drop_path: largest stochastic-depth rate (A30).
    """

    dim: int = 96
    depths: tuple[int, ...] = (2, 2, 2, 2)
    decoder_depths: tuple[int, ...] = (2, 2, 2, 1)
    patch_size: int = 4
    in_channels: int = 3
    d_state: int = 16
    expand: int = 2
    dt_rank: int | None = None
    se: bool = True
    se_ratio: int = 8
    cmn: bool = True
    cmn_ratio: int = 2
    cmn_residual: bool = True
    cra: bool = True
    cra_ratio: int = 32
    conv_init: bool = True
    drop_path: float = 0.2

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.depths) != len(self.decoder_depths):
            raise SkinlesionError(
                f"depths {self.depths} and decoder_depths {self.decoder_depths} must have the same number of stages."
            )
        if self.dim % self.patch_size or self.dim < 2 * self.patch_size:
            # The last LayerNorm runs over dim / patch_size channels; over one channel its output is constant.
            raise SkinlesionError(
                "dim must be a multiple of patch_size and at least twice as large, since dim / patch_size channels "
                f"reach the head; got dim={self.dim}, patch_size={self.patch_size}."
            )


PRESETS: dict[str, ModelConfig] = {
    "paper": ModelConfig(),
    "vmunet": ModelConfig(se=False, cmn=False, cra=False),
    "small": ModelConfig(dim=24, drop_path=0.1),
    "tiny": ModelConfig(dim=16, drop_path=0.1),
}
