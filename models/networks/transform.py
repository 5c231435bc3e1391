"""The transform as layers: a network that takes waveforms hears exactly what training heard.

The Fourier transform is a convolution with a fixed matrix, because TFLite has no Fourier transform for lengths other
than powers of two. Everything else that is linear is a fixed matrix as well: mel bands, cosine transform, differences,
smoothing. Only layers and operations of Keras are used, so that Keras alone loads the result.
"""

import warnings
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

if TYPE_CHECKING:
    import keras

AMPLITUDE_FLOOR = 1e-5
POWER_FLOOR = 1e-10
PCEN_SCALE = 2.0**31
DELTA_FRAMES = 9


class Transform(Struct, frozen=True, kw_only=True):
    """What turns a waveform into the input of a network, as a feature store describes it."""

    kind: Literal["magnitude", "power", "logmagnitude", "mel", "logmel", "mfcc", "pcen"]
    n_fft: int
    """Samples of a frame."""
    hop_length: int
    """Samples from one frame to the next."""
    window: str
    """A name that ``scipy.signal.get_window`` knows; the window is periodic."""
    n_mels: int = 40
    fmin_hz: float = 20.0
    fmax_hz: float | None = None
    """None for half the sample rate."""
    n_mfcc: int = 13
    deltas: bool = True


def apply(transform: Transform, sample_rate_hz: int, waveform: "keras.KerasTensor") -> "keras.KerasTensor":
    """Compute the features of waveforms.

    Parameters
    ----------
    transform : Transform
    sample_rate_hz : int
    waveform : KerasTensor
        float32 (batch, samples), in [-1, 1].

    Returns
    -------
    KerasTensor
        float32 (batch, frequency, time, 1), as :func:`features.spectrogram.transform` computes them.
    """
    from keras import layers

    features = of_kind(transform, sample_rate_hz, _magnitude(transform, waveform))
    return layers.Reshape((features.shape[2], -1, 1), name="features")(layers.Permute((2, 1))(features))


def _magnitude(transform: Transform, waveform: "keras.KerasTensor") -> "keras.KerasTensor":
    """Absolute short-time Fourier transform, (batch, time, bins)."""
    from keras import layers, ops
    from scipy.signal import get_window

    n_fft, bins = transform.n_fft, transform.n_fft // 2 + 1
    phase = 2 * np.pi / n_fft * (np.outer(np.arange(n_fft), np.arange(bins)) % n_fft)
    window = get_window(transform.window, n_fft)[:, np.newaxis]
    kernel = np.concatenate([window * np.cos(phase), window * np.sin(phase)], axis=1)
    fourier = layers.Conv1D(2 * bins, n_fft, strides=transform.hop_length, use_bias=False, name="fourier")
    padded = layers.ZeroPadding1D(n_fft // 2)(layers.Reshape((-1, 1))(waveform))
    parts = fourier(padded)
    fourier.trainable = False
    fourier.set_weights([kernel[:, np.newaxis].astype(np.float32)])
    return ops.sqrt(ops.square(parts[..., :bins]) + ops.square(parts[..., bins:]))


def of_kind(transform: Transform, sample_rate_hz: int, magnitude: "keras.KerasTensor") -> "keras.KerasTensor":
    """From magnitudes, (batch, time, bins), to features, (batch, time, frequency)."""
    from keras import ops

    kind = transform.kind
    if kind == "magnitude":
        return magnitude
    if kind == "power":
        return ops.square(magnitude)
    if kind == "logmagnitude":
        return _decibels(magnitude, 20, AMPLITUDE_FLOOR)
    filters = mel_filters(transform, sample_rate_hz)
    if kind == "pcen":
        return _pcen(_linear(magnitude, filters.T, "mel"), sample_rate_hz, transform.hop_length)
    mel = _linear(ops.square(magnitude), filters.T, "mel")
    if kind == "mel":
        return mel
    logmel = _decibels(mel, 10, POWER_FLOOR)
    return logmel if kind == "logmel" else _mfcc(transform, logmel)


def _decibels(values: "keras.KerasTensor", factor: int, floor: float) -> "keras.KerasTensor":
    from keras import ops

    return ops.log(ops.maximum(values, floor)) * (factor / float(np.log(10)))


def mel_filters(transform: Transform, sample_rate_hz: int) -> NDArray[np.float32]:
    """Weights of each bin in each mel band, shape (n_mels, bins): ``librosa.filters.mel``."""
    from librosa.filters import mel

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # librosa warns of empty bands
        return mel(
            sr=sample_rate_hz,
            n_fft=transform.n_fft,
            n_mels=transform.n_mels,
            fmin=transform.fmin_hz,
            fmax=transform.fmax_hz or sample_rate_hz / 2,
        )


def _mfcc(transform: Transform, logmel: "keras.KerasTensor") -> "keras.KerasTensor":
    from keras import ops
    from scipy.fft import dct
    from scipy.signal import savgol_filter

    cosines = dct(np.eye(transform.n_mels), type=2, norm="ortho", axis=0)[: transform.n_mfcc]
    coefficients = _linear(logmel, cosines.T, "cosines")
    if not transform.deltas:
        return coefficients
    frames = np.eye(logmel.shape[1])
    slopes = [
        savgol_filter(frames, DELTA_FRAMES, deriv=order, polyorder=order, axis=0, mode="nearest") for order in (1, 2)
    ]
    parts = [coefficients, *(_in_time(coefficients, slope, f"delta_{order}") for order, slope in enumerate(slopes, 1))]
    return ops.concatenate(parts, axis=-1)


def _pcen(mel: "keras.KerasTensor", sample_rate_hz: int, hop_length: int) -> "keras.KerasTensor":
    """Per-channel energy normalisation, with the defaults of ``librosa.pcen``."""
    from keras import ops
    from scipy.signal import lfilter, lfilter_zi

    gain, bias, time_constant_s, epsilon = 0.98, 2.0, 0.4, 1e-6  # and power 0.5: a square root
    frames_of_constant = time_constant_s * sample_rate_hz / hop_length
    step = (np.sqrt(1 + 4 * frames_of_constant**2) - 1) / (2 * frames_of_constant**2)
    frames = mel.shape[1]
    smoother = lfilter([step], [1, step - 1], np.eye(frames), axis=0)
    start, _ = lfilter([step], [1, step - 1], np.zeros(frames), zi=lfilter_zi([step], [1, step - 1]))
    scaled = mel * PCEN_SCALE
    smooth = _in_time(scaled, smoother, "smoother", start)
    normalised = scaled * ops.exp((ops.log(smooth / epsilon + 1) + float(np.log(epsilon))) * -gain)
    return (ops.sqrt(normalised / bias + 1) - 1) * float(np.sqrt(bias))


def _linear(
    values: "keras.KerasTensor", matrix: NDArray[Any], name: str, bias: NDArray[Any] | None = None
) -> "keras.KerasTensor":
    """Multiply the last axis with a fixed matrix, (from, to), and add a fixed vector, (to,)."""
    from keras import layers

    dense = layers.Dense(matrix.shape[1], use_bias=bias is not None, name=name)
    given = dense(values)
    dense.trainable = False
    dense.set_weights([np.asarray(part, np.float32) for part in (matrix, bias) if part is not None])
    return given


def _in_time(
    values: "keras.KerasTensor", matrix: NDArray[Any], name: str, bias: NDArray[Any] | None = None
) -> "keras.KerasTensor":
    """Multiply the time axis of (batch, time, frequency) with a fixed matrix, (to, from), and add a vector, (to,)."""
    from keras import layers

    return layers.Permute((2, 1))(_linear(layers.Permute((2, 1))(values), matrix.T, name, bias))
