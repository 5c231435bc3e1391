"""Loudness, speech, silence and clipping, against tones whose values are known."""

import numpy as np

from features.look.measures import measure

RATE_HZ = 8000


def tone(amplitude: float, start_s: float, stop_s: float, seconds: float = 1.0) -> np.ndarray:
    time_s = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    inside = (time_s >= start_s) & (time_s < stop_s)
    return (amplitude * np.sin(2 * np.pi * 500 * time_s) * inside).astype(np.float32)


def test_known_clips() -> None:
    clips = np.stack(
        [
            tone(1.0, 0, 1),  # a full-scale sine lies 3 dB below a square wave
            tone(0.1, 0.2, 0.6),
            np.zeros(RATE_HZ, np.float32),
            tone(0.0005, 0, 1),  # hiss of an empty room
            np.sign(tone(1.0, 0, 1)),
            tone(0.5, 0.1, 0.2) + tone(0.5, 0.7, 0.8),
        ]
    )
    found = measure(clips, RATE_HZ)
    np.testing.assert_allclose(found.loudness_db, [-3.0, -27.0, -120.0, -69.0, -0.5, -16.0], atol=0.6)
    np.testing.assert_allclose(found.speech_s, [1.0, 0.4, 0.0, 0.0, 1.0, 0.7], atol=1e-6)
    np.testing.assert_allclose(found.silence_s, [0.0, 0.6, 1.0, 1.0, 0.0, 0.8], atol=1e-6)
    assert found.clipped.tolist() == [True, False, False, False, True, False]
    loud = np.zeros((2, 16000), np.float32)
    loud[0, :16], loud[1, :15] = 1, 1
    assert measure(loud, 16000).clipped.tolist() == [True, False], "a millisecond, at any rate"


def test_clips_shorter_than_a_frame() -> None:
    found = measure(np.full((2, 10), 0.5, np.float32), RATE_HZ)
    np.testing.assert_allclose(found.loudness_db, -6.0, atol=0.1)
