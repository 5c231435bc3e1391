"""The transform as layers: a network that takes waveforms hears exactly what training heard.

The Fourier transform is a convolution with a fixed matrix, because TFLite has no Fourier transform for lengths other
than powers of two. Only layers of Keras are used, so that Keras alone loads the result.
"""

from typing import TYPE_CHECKING, Literal

from msgspec import Struct

if TYPE_CHECKING:
    import keras


class Transform(Struct, frozen=True, kw_only=True):
    """What turns a waveform into the input of a network, as a feature store describes it."""

    kind: Literal["magnitude"]
    n_fft: int
    """Samples of a frame."""
    hop_length: int
    """Samples from one frame to the next."""
    window: str
    """A name that ``scipy.signal.get_window`` knows; the window is periodic."""


def apply(transform: Transform, waveform: "keras.KerasTensor") -> "keras.KerasTensor":
    """Compute the features of waveforms.

    Parameters
    ----------
    transform : Transform
    waveform : KerasTensor
        float32 (batch, samples), in [-1, 1].

    Returns
    -------
    KerasTensor
        float32 (batch, frequency, time, 1): linear magnitudes of frames that are centred on multiples of the hop, the
        waveform padded with zeros, as ``abs(librosa.stft(clip))``.
    """
    import keras
    import numpy as np
    from keras import layers
    from scipy.signal import get_window

    n_fft, bins = transform.n_fft, transform.n_fft // 2 + 1
    phase = 2 * np.pi / n_fft * (np.outer(np.arange(n_fft), np.arange(bins)) % n_fft)
    window = get_window(transform.window, n_fft)[:, np.newaxis]
    kernel = np.concatenate([window * np.cos(phase), window * np.sin(phase)], axis=1, dtype=np.float64)
    fourier = layers.Conv1D(2 * bins, n_fft, strides=transform.hop_length, use_bias=False, name="fourier")
    fourier.trainable = False
    padded = layers.ZeroPadding1D(n_fft // 2)(layers.Reshape((-1, 1))(waveform))
    parts = fourier(padded)
    fourier.set_weights([kernel[:, np.newaxis].astype(np.float32)])
    magnitudes = keras.ops.sqrt(keras.ops.square(parts[..., :bins]) + keras.ops.square(parts[..., bins:]))
    return layers.Reshape((bins, -1, 1), name="features")(layers.Permute((2, 1))(magnitudes))
