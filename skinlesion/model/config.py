"""The network's sizes and switches; presets are data."""

from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from skinlesion.errors import SkinlesionError


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
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
    drop_path: float = 0.2

    def __post_init__(self) -> None:
        object.__setattr__(self, "depths", tuple(self.depths))
        object.__setattr__(self, "decoder_depths", tuple(self.decoder_depths))
        if len(self.depths) != len(self.decoder_depths):
            raise SkinlesionError(
                f"depths {self.depths} and decoder_depths {self.decoder_depths} must have the same number of stages."
            )
        for name in (
            "dim",
            "patch_size",
            "in_channels",
            "d_state",
            "expand",
            "se_ratio",
            "cmn_ratio",
            "cra_ratio",
        ):
            if getattr(self, name) < 1:
                raise SkinlesionError(f"{name} must be at least 1; got {getattr(self, name)}.")
        if min(*self.depths, *self.decoder_depths) < 1 or (self.dt_rank is not None and self.dt_rank < 1):
            raise SkinlesionError("each stage needs at least one block, and dt_rank must be at least 1.")
        if not 0 <= self.drop_path < 1:
            raise SkinlesionError(f"drop_path must be in [0, 1); got {self.drop_path}.")
        if self.dim % self.patch_size:
            raise SkinlesionError(
                f"dim must be a multiple of patch_size, since the head maps {self.dim} channels to "
                f"dim / patch_size; got dim={self.dim}, patch_size={self.patch_size}."
            )

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for a checkpoint's header."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "ModelConfig":
        """The inverse of `to_dict`.

        Raises:
            SkinlesionError: a name is unknown; the message lists the valid ones.
        """
        return cls().override(**values)

    def override(self, **values: Any) -> "ModelConfig":
        """A copy with some values changed.

        Raises:
            SkinlesionError: a name is unknown; the message lists the valid ones.
        """
        valid = [field.name for field in fields(self)]
        unknown = sorted(set(values) - set(valid))
        if unknown:
            raise SkinlesionError(f"Unknown model option {', '.join(unknown)}; the options are: {', '.join(valid)}.")
        return replace(self, **values)


PRESETS: dict[str, ModelConfig] = {
    "paper": ModelConfig(),
    "vmunet": ModelConfig(se=False, cmn=False, cra=False),
    "small": ModelConfig(dim=24, drop_path=0.1),
    "tiny": ModelConfig(dim=16, drop_path=0.1),
}
