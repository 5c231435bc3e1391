"""The first layers of every network: from stored features to what convolutions learn from.

Keras is imported when layers are made, so that a front end can be described without it.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from models.networks.transform import Transform, mel_filters, of_kind

if TYPE_CHECKING:
    from keras import KerasTensor

LOG_OFFSETS = {"magnitude": 1e-3, "power": 1e-6, "mel": 1e-6}
"""What is added to features of each linear kind before the logarithm: 96 dB under the largest magnitude of a full-scale
sine, 65. Features of other kinds are logarithms or compressed already."""
DECIBELS = {
    "magnitude": 20 / np.log(10),
    "power": 10 / np.log(10),
    "mel": 10 / np.log(10),
    "logmagnitude": 1,
    "logmel": 1,
}
"""Decibels in a unit of each kind, after the logarithm if there is one; other kinds have no such unit."""
NORMALIZE = "normalize"
"""Name of the last layer of a front end."""


class Statistics(NamedTuple):
    """What a front end knows of the clips to train on, each of shape (frequency,)."""

    mean: NDArray[np.float32]
    variance: NDArray[np.float32]


@dataclass(frozen=True)
class FrontEnd:
    """Bands, logarithm and normalisation, as far as stored features need them."""

    transform: Transform
    """What made the stored features."""
    sample_rate_hz: int
    bands: Literal["none", "mel", "pcen"] = "none"
    """What is made of magnitudes first."""
    n_mels: int = 40
    compress: bool = True
    """Take the logarithm of linear features, and normalise each frequency."""

    @property
    def kind(self) -> str:
        """Of the features whose logarithm is taken, if they are linear."""
        return self.bands if self._makes_bands else self.transform.kind

    @property
    def log_offset(self) -> float | None:
        """What is added before the logarithm; None for no logarithm."""
        return LOG_OFFSETS.get(self.kind) if self.compress else None

    @property
    def decibels(self) -> float | None:
        """Decibels in a unit of what is normalised; None if it is not the logarithm of a spectrum."""
        return DECIBELS.get(self.kind) if self.compress else None

    @property
    def empty_bands(self) -> int:
        """Bands too narrow to hold a bin of the transform, so that they are always 0."""
        if not self._makes_bands:
            return 0
        return int((mel_filters(self._bands_transform, self.sample_rate_hz).max(axis=1) == 0).sum())

    def frequencies(self, stored: int) -> int:
        """How many frequencies it makes of those stored."""
        return self.n_mels if self._makes_bands else stored

    def spectrum(self, features: "KerasTensor") -> "KerasTensor":
        """Everything but the normalisation: float32 (batch, frequency, time, 1) to the same with other frequencies."""
        from keras import layers, ops

        if self._makes_bands:
            frames = layers.Permute((2, 1))(layers.Reshape(features.shape[1:3])(features))
            bands = layers.Permute((2, 1))(of_kind(self._bands_transform, self.sample_rate_hz, frames))
            features = layers.Reshape((*bands.shape[1:], 1))(bands)
        return features if self.log_offset is None else ops.log(features + self.log_offset)

    def __call__(self, features: "KerasTensor", statistics: Statistics | None) -> "KerasTensor":
        """All of it; without statistics nothing is normalised. The last layer's name is :data:`NORMALIZE`."""
        from keras import layers

        spectrum = self.spectrum(features)
        if statistics is None:
            return layers.Identity(name=NORMALIZE)(spectrum)
        return layers.Normalization(axis=1, mean=statistics.mean, variance=statistics.variance, name=NORMALIZE)(
            spectrum
        )

    @property
    def _makes_bands(self) -> bool:
        return self.bands != "none" and self.transform.kind == "magnitude"

    @property
    def _bands_transform(self) -> Transform:
        return replace(self.transform, kind=self.bands, n_mels=self.n_mels)
