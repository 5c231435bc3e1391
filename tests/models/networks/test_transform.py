import keras
import librosa
import numpy as np
import pytest

from models.networks.transform import Transform, apply


@pytest.mark.parametrize("samples", [8000, 8001, 500])
@pytest.mark.parametrize(
    ("n_fft", "hop_length", "window"),
    [(258, 64, "hann"), (255, 100, "hamming"), (400, 160, "blackman"), (64, 64, "boxcar")],
)
def test_the_transform_as_a_layer_is_librosas(n_fft: int, hop_length: int, window: str, samples: int) -> None:
    waveform = keras.Input((samples,))
    settings = Transform(kind="magnitude", n_fft=n_fft, hop_length=hop_length, window=window)
    model = keras.Model(waveform, apply(settings, waveform))
    clips = np.random.default_rng(0).uniform(-1, 1, (3, samples)).astype(np.float32)
    found = np.asarray(model(clips))[..., 0]
    expected = np.abs(
        librosa.stft(clips.astype(np.float64), n_fft=n_fft, hop_length=hop_length, window=window, pad_mode="constant")
    )
    assert found.shape == expected.shape == (3, *model.output_shape[1:3])
    np.testing.assert_allclose(found, expected, atol=2e-5 * expected.max())
