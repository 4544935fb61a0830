r"""Whether an image looks like those that a network was trained on, judged by the network's own features.

Each of the first three encoder stages gives the mean and the standard deviation of every channel over the image,
:math:`f`. Standardized and compressed, with their squares, they enter a linear discriminant between training images and
synthetic outliers (`skinlesion.data.outliers`), fitted by ridge regression:

.. math:: z = \mathrm{sgn}(u) \log(1 + |u|), \quad u = (f - \mu) / \sigma, \qquad s = w \cdot (z, z^2) + b - t

The threshold t leaves a share of the validation images, and of augmented views of them, above it: the false alarms.
Training on outliers of a different kind than those expected in use is outlier exposure
(https://arxiv.org/abs/1812.04606); the squares let a linear function enclose the training images.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from skinlesion.errors import SkinlesionError
from skinlesion.hooks import points

RIDGE = 3.0  # with standardized features and thousands of images: enough to be stable, little enough not to matter
_STAGES = 3


def domain_points(model: nn.Module) -> tuple[str, ...]:
    """The points whose features are used: the output of the last block of each of the first three stages.

    Raises:
        SkinlesionError: the network has no such blocks.
    """
    names = [
        name for name in points(model) if name.startswith("E") and name.count(".") == 2 and name.endswith(".output")
    ]
    last = {name.split(".")[0]: name for name in names}
    if not {f"E{stage}" for stage in range(1, _STAGES + 1)} <= last.keys():
        raise SkinlesionError(
            "The out-of-distribution score needs a network with the encoder stages E1 to E3, such as the paper's."
        )
    return tuple(last[f"E{stage}"] for stage in range(1, _STAGES + 1))


def domain_features(seen: Mapping[str, Tensor], names: Sequence[str]) -> NDArray[np.float64]:
    """Mean and standard deviation over the image of every channel of the named points.

    Args:
        seen: features (B, H, W, C) by point.
        names: the points, in order.

    Returns:
        (B, F), F twice the sum of the C.
    """
    parts = [part for name in names for part in (seen[name].mean((1, 2)), seen[name].std((1, 2), correction=0))]
    return np.concatenate([part.cpu().double().numpy() for part in parts], axis=1)


@dataclass(frozen=True)
class Domain:
    """A fitted out-of-distribution score.

    Attributes:
        points: where the features come from.
        mean: of the F features over the training images.
        scale: their standard deviation, positive.
        weights: of the F compressed features, then of their F squares.
        bias: added to the weighted sum.
        threshold: a larger score counts as out of distribution.
        false_alarms: the share of the validation images above it.
    """

    points: tuple[str, ...]
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    weights: tuple[float, ...]
    bias: float
    threshold: float
    false_alarms: float

    def score(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """Distance above the threshold: positive for images unlike the training images.

        Args:
            features: (B, F), of `domain_features` at `points`.

        Returns:
            (B,)
        """
        return _terms(features, np.array(self.mean), np.array(self.scale)) @ np.array(self.weights) + (
            self.bias - self.threshold
        )

    def to_card(self) -> dict[str, Any]:
        """Plain values, rounded to six digits."""
        values = asdict(self)
        for name in ("mean", "scale", "weights"):
            values[name] = [float(f"{value:.6g}") for value in values[name]]
        return {**values, "points": list(self.points)}

    @classmethod
    def from_card(cls, values: Any) -> "Domain":
        """Read what `to_card` wrote.

        Raises:
            SkinlesionError: a value is missing, has another type, or is not finite.
        """
        try:
            mean, scale, weights = (tuple(map(float, values[name])) for name in ("mean", "scale", "weights"))
            bias, threshold, false_alarms = (float(values[name]) for name in ("bias", "threshold", "false_alarms"))
            names = tuple(map(str, values["points"]))
            if not (mean and len(scale) == len(mean) and len(weights) == 2 * len(mean) and min(scale) > 0):
                raise ValueError("the lengths of its lists do not match")
            if not np.isfinite([*mean, *scale, *weights, bias, threshold, false_alarms]).all():
                raise ValueError("a number is not finite")
        except (TypeError, ValueError, KeyError, OverflowError) as error:
            raise SkinlesionError(f"The card's field `domain` cannot be used ({error}).") from error
        return cls(names, mean, scale, weights, bias, threshold, false_alarms)


def fit_domain(
    names: Sequence[str],
    inside: NDArray[np.float64],
    outside: NDArray[np.float64],
    validation: NDArray[np.float64],
    *,
    false_alarms: float = 0.02,
) -> Domain:
    """Fit the discriminant.

    Args:
        names: the points that the features come from.
        inside: (N, F) features of training images.
        outside: (M, F) features of outliers.
        validation: (K, F) features of images that were not trained on, for the threshold.
        false_alarms: share of `validation` that may be called out of distribution, between 0 and 1.
    """
    mean, scale = inside.mean(0), inside.std(0) + 1e-6
    rows = _terms(np.concatenate([inside, outside]), mean, scale)
    rows = np.concatenate([rows, np.ones((len(rows), 1))], axis=1)
    labels = np.repeat([-1.0, 1.0], [len(inside), len(outside)])
    *weights, bias = np.linalg.solve(rows.T @ rows + RIDGE * np.eye(rows.shape[1]), rows.T @ labels)
    scores = _terms(validation, mean, scale) @ np.array(weights) + bias
    threshold = float(np.quantile(scores, 1 - false_alarms, method="higher"))
    share = float((scores > threshold).mean())
    fitted = (tuple(mean), tuple(scale), tuple(map(float, weights)))
    return Domain(tuple(names), *fitted, float(bias), threshold, share)


def _terms(features: NDArray[np.float64], mean: NDArray[np.float64], scale: NDArray[np.float64]) -> NDArray[np.float64]:
    """The (B, 2F) terms of the linear score, from (B, F) features."""
    u = (features - mean) / scale
    z = np.sign(u) * np.log1p(np.abs(u))
    return np.concatenate([z, z**2], axis=1)
