"""The kinds of features: clips in, spectrograms out. Knows no file.

The reference is librosa, which the tests hold every kind and setting against. A new kind is a function of magnitudes
and an entry in :data:`KINDS`.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from ducc0.fft import r2c
from msgspec import Meta, Struct
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

WINDOWS: dict[str, Callable[[int], NDArray[np.float64]]] = {
    "hann": np.hanning,
    "hamming": np.hamming,
    "blackman": np.blackman,
    "boxcar": np.ones,
}
AMPLITUDE_FLOOR = 1e-5
"""Magnitudes are at least this in decibels: ``amin`` of ``librosa.amplitude_to_db``."""
POWER_FLOOR = 1e-10
"""Powers are at least this in decibels: ``amin`` of ``librosa.power_to_db``."""
PCEN_SCALE = 2.0**31
"""Full scale for PCEN, as ``librosa.pcen`` advises for samples in [-1, 1]."""
DELTA_FRAMES = 9
"""Frames that a delta is the slope of: ``width`` of ``librosa.feature.delta``."""


class FeatureSpec(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is computed from a clip. ``msgspec.convert`` checks what it is given; made directly, it is trusted."""

    kind: Literal["magnitude", "power", "logmagnitude", "mel", "logmel", "mfcc", "pcen"]
    """A key of :data:`KINDS`."""
    n_fft: Annotated[int, Meta(ge=2)]
    """Length of a frame and of its Fourier transform, in samples."""
    hop_length: Annotated[int, Meta(ge=1)]
    """Distance of one frame from the next, in samples."""
    window: Literal["hann", "hamming", "blackman", "boxcar"]
    n_mels: Annotated[int, Meta(ge=1)] = 40
    """Mel bands, of mel, logmel, mfcc and pcen."""
    fmin_hz: Annotated[float, Meta(ge=0)] = 20.0
    """Lowest frequency of the mel bands."""
    fmax_hz: Annotated[float, Meta(gt=0)] | None = None
    """Highest frequency of the mel bands; None for half the sample rate."""
    n_mfcc: Annotated[int, Meta(ge=1)] = 13
    """Coefficients of mfcc."""
    deltas: bool = True
    """Whether mfcc has first and second differences in time below its coefficients."""

    def __post_init__(self) -> None:
        if self.hop_length > self.n_fft:
            raise ValueError(
                f"hop_length {self.hop_length} is longer than n_fft {self.n_fft}, so samples between frames would be "
                "lost; expected at most n_fft"
            )
        if self.kind == "mfcc" and self.n_mfcc > self.n_mels:
            raise ValueError(f"n_mfcc {self.n_mfcc} is larger than n_mels {self.n_mels}; expected at most n_mels")

    @property
    def used(self) -> dict[str, Any]:
        """The settings that decide features of this kind, by name."""
        named = msgspec.to_builtins(self)
        return {name: named[name] for name in (*FRAME_SETTINGS, *KINDS[self.kind].settings)}

    def shape(self, clip_samples: int) -> tuple[int, int]:
        """Shape of one clip's features: (frequency, time)."""
        centred = clip_samples + 2 * (self.n_fft // 2)
        return KINDS[self.kind].rows(self), (centred - self.n_fft) // self.hop_length + 1

    def axes(self, clip_samples: int, sample_rate_hz: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Centre of each bin or band in Hz, or number of each coefficient; each frame in seconds from the start."""
        rows, frames = self.shape(clip_samples)
        if self.kind == "mfcc":
            frequency = np.arange(rows, dtype=np.float64)
        elif rows == self.n_fft // 2 + 1 and "n_mels" not in KINDS[self.kind].settings:
            frequency = np.arange(rows) * (sample_rate_hz / self.n_fft)
        else:
            from librosa import mel_frequencies

            edges = mel_frequencies(n_mels=self.n_mels + 2, fmin=self.fmin_hz, fmax=self.fmax_hz or sample_rate_hz / 2)
            frequency = edges[1:-1]
        return frequency, np.arange(frames) * (self.hop_length / sample_rate_hz)


FRAME_SETTINGS = ("kind", "n_fft", "hop_length", "window")
MEL_SETTINGS = ("n_mels", "fmin_hz", "fmax_hz")


@dataclass(frozen=True)
class Kind:
    """One kind of features.

    Attributes
    ----------
    make : callable
        From the magnitudes of one clip, float32 (bins, frames), settings and sample rate to its features,
        (frequency, frames).
    unit : str
        Of a value.
    settings : tuple of str
        Settings that it uses, beside those of the frames.
    """

    make: Callable[[NDArray[np.float32], FeatureSpec, int], NDArray[Any]]
    unit: str
    settings: tuple[str, ...] = ()

    def rows(self, spec: FeatureSpec) -> int:
        """Length of the frequency axis."""
        if "n_mfcc" in self.settings:
            return spec.n_mfcc * (3 if spec.deltas else 1)
        return spec.n_mels if "n_mels" in self.settings else spec.n_fft // 2 + 1


def _magnitude(magnitude: NDArray[np.float32], spec: FeatureSpec, sample_rate_hz: int) -> NDArray[Any]:
    return magnitude


def _power(magnitude: NDArray[np.float32], spec: FeatureSpec, sample_rate_hz: int) -> NDArray[Any]:
    return np.square(magnitude)


def _logmagnitude(magnitude: NDArray[np.float32], spec: FeatureSpec, sample_rate_hz: int) -> NDArray[Any]:
    return 20 * np.log10(np.maximum(magnitude, np.float32(AMPLITUDE_FLOOR)))


def _mel(magnitude: NDArray[np.float32], spec: FeatureSpec, sample_rate_hz: int) -> NDArray[Any]:
    return mel_filters(spec, sample_rate_hz) @ np.square(magnitude)


def _logmel(magnitude: NDArray[np.float32], spec: FeatureSpec, sample_rate_hz: int) -> NDArray[Any]:
    return 10 * np.log10(np.maximum(_mel(magnitude, spec, sample_rate_hz), np.float32(POWER_FLOOR)))


def _mfcc(magnitude: NDArray[np.float32], spec: FeatureSpec, sample_rate_hz: int) -> NDArray[Any]:
    from librosa.feature import delta, mfcc

    coefficients = mfcc(S=_logmel(magnitude, spec, sample_rate_hz), n_mfcc=spec.n_mfcc)
    if not spec.deltas:
        return coefficients
    slopes = [delta(coefficients, width=DELTA_FRAMES, order=order, mode="nearest") for order in (1, 2)]
    return np.concatenate([coefficients, *slopes])


def _pcen(magnitude: NDArray[np.float32], spec: FeatureSpec, sample_rate_hz: int) -> NDArray[Any]:
    from librosa import pcen

    bands = mel_filters(spec, sample_rate_hz) @ magnitude
    return pcen(bands * np.float32(PCEN_SCALE), sr=sample_rate_hz, hop_length=spec.hop_length)


KINDS = {
    # The short-time Fourier transform's absolute value, linear.
    "magnitude": Kind(_magnitude, "magnitude"),
    "power": Kind(_power, "power"),
    "logmagnitude": Kind(_logmagnitude, "dB"),
    # Powers in mel bands, as ``librosa.feature.melspectrogram`` gives them.
    "mel": Kind(_mel, "power", MEL_SETTINGS),
    "logmel": Kind(_logmel, "dB", MEL_SETTINGS),
    "mfcc": Kind(_mfcc, "cepstral coefficient", (*MEL_SETTINGS, "n_mfcc", "deltas")),
    # Per-channel energy normalisation of magnitudes in mel bands (Wang et al., "Trainable frontend for robust and
    # far-field keyword spotting", ICASSP 2017), with librosa's constants.
    "pcen": Kind(_pcen, "PCEN", MEL_SETTINGS),
}


@lru_cache(maxsize=2)
def mel_filters(spec: FeatureSpec, sample_rate_hz: int) -> NDArray[np.float32]:
    """Weights of each bin in each mel band, shape (n_mels, bins): ``librosa.filters.mel``.

    Raises
    ------
    ValueError
        If a band would hold no bin, or lies beyond half the sample rate.
    """
    from librosa.filters import mel

    highest = spec.fmax_hz or sample_rate_hz / 2
    if not spec.fmin_hz < highest <= sample_rate_hz / 2:
        raise ValueError(
            f"features.fmin_hz {spec.fmin_hz:g} and fmax_hz {highest:g} are no range up to half the sample rate, "
            f"{sample_rate_hz / 2:g}; choose others"
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # librosa warns of empty bands, which are refused
        filters = mel(sr=sample_rate_hz, n_fft=spec.n_fft, n_mels=spec.n_mels, fmin=spec.fmin_hz, fmax=highest)
    empty = int((filters.max(axis=1) == 0).sum())
    if empty:
        raise ValueError(
            f"{empty} of {spec.n_mels} mel bands hold no bin of a transform of {spec.n_fft} samples at "
            f"{sample_rate_hz} Hz; choose a smaller features.n_mels or a larger features.n_fft"
        )
    return np.asarray(filters, np.float32)


def transform(
    clips: NDArray[np.float32],
    spec: FeatureSpec,
    out: NDArray[np.float32] | None = None,
    *,
    sample_rate_hz: int = 8000,
) -> NDArray[np.float32]:
    """Compute the features of a batch of clips.

    Frames are centred on multiples of the hop, the clip is padded with zeros at both ends, and the window is periodic,
    as librosa does by default.

    Parameters
    ----------
    clips : float32 array, shape (clips, samples)
        Samples in [-1, 1].
    spec : FeatureSpec
    out : float32 array, shape (clips, frequency, time), optional
        Where to put the result, to save its allocation.
    sample_rate_hz : int
        Decides the mel bands.

    Returns
    -------
    float32 array, shape (clips, frequency, time)
        In the unit of the kind.

    Raises
    ------
    ValueError
        If an array is of another shape or type, or the mel bands do not fit the transform.

    Examples
    --------
    >>> spec = FeatureSpec(kind="logmel", n_fft=258, hop_length=64, window="hann")
    >>> transform(np.zeros((2, 8000), np.float32), spec).shape
    (2, 40, 126)
    """
    if clips.dtype != np.float32 or clips.ndim != 2:
        raise ValueError(f"clips are {clips.dtype} {clips.shape}; expected float32 (clips, samples)")
    samples = clips.shape[1]
    shape = (len(clips), *spec.shape(samples))
    features = np.empty(shape, np.float32) if out is None else out
    if features.dtype != np.float32 or features.shape != shape:
        raise ValueError(f"out is {features.dtype} {features.shape}; expected float32 {shape}")
    make = KINDS[spec.kind].make
    window = WINDOWS[spec.window](spec.n_fft + 1)[:-1].astype(np.float32)  # one longer and cut: periodic
    pad = spec.n_fft // 2
    padded = np.zeros(samples + 2 * pad, np.float32)
    # Samples of a frame lie along the first axis and frames along the last, so the result needs no transposing.
    frames = sliding_window_view(padded, spec.n_fft)[:: spec.hop_length].T
    windowed = np.empty(frames.shape, np.float32)
    spectrum = np.empty((spec.n_fft // 2 + 1, shape[2]), np.complex64)
    magnitude = np.empty(spectrum.shape, np.float32)
    # Clip by clip, because ducc0 rounds a frame differently depending on how many others it comes with.
    for clip, feature in zip(clips, features, strict=True):
        padded[pad : pad + samples] = clip
        np.multiply(frames, window[:, np.newaxis], out=windowed)
        r2c(windowed, axes=(0,), out=spectrum)
        if spec.kind == "magnitude":
            np.abs(spectrum, out=feature)
        else:
            feature[...] = make(np.abs(spectrum, out=magnitude), spec, sample_rate_hz)
    return features
