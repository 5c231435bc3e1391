import io

import numpy as np
import pytest
import soundfile
import soxr

from features.corpus import Corpus
from features.sources.demo_corpus import SynthesizeSpec, synthesize
from features.split.near import fingerprints, near_pairs

CLIPS = 72
COPIES = 60


@pytest.fixture(scope="module")
def clips() -> np.ndarray:
    """Spoken words, every speaker saying each once, without the silence."""
    corpus = Corpus(words=("yes", "no", "up", "down"))
    return np.stack([each.clip for each in synthesize(SynthesizeSpec(clips=CLIPS, seed=0), corpus)])


def again(clip: np.ndarray, form: str, subtype: str) -> np.ndarray:
    stream = io.BytesIO()
    soundfile.write(stream, clip, 8000, subtype, format=form)
    stream.seek(0)
    samples, rate_hz = soundfile.read(stream, dtype="float32")
    samples = samples if rate_hz == 8000 else soxr.resample(samples, rate_hz, 8000)
    return np.pad(samples, (0, 8000))[:8000].astype(np.float32)


COPY = {
    "mp3": lambda clip: again(clip, "MP3", "MPEG_LAYER_III"),
    "opus": lambda clip: again(clip, "OGG", "OPUS"),
    "telephone": lambda clip: again(clip, "WAV", "ULAW"),
    "louder": lambda clip: np.clip(2 * clip, -1, 1),
    "trimmed": lambda clip: np.pad(clip[777:], (0, 777)),
    "late": lambda clip: np.pad(clip, (500, 0))[:8000],
    "all at once": lambda clip: again(0.5 * np.pad(clip[333:], (0, 333)), "MP3", "MPEG_LAYER_III"),
}


@pytest.mark.parametrize("kind", COPY)
def test_copies_are_found_and_nothing_else(clips: np.ndarray, kind: str) -> None:
    copies = np.stack([COPY[kind](clip) for clip in clips[:COPIES]]).astype(np.float32)
    pairs = near_pairs(fingerprints(np.concatenate([clips, copies]), 8000))
    right = {(clip, CLIPS + clip) for clip in range(COPIES)}
    found = set(map(tuple, pairs.tolist()))
    assert len(found & right) >= 0.8 * COPIES
    assert not found - right


def test_silence_and_noise_are_no_copies() -> None:
    noise = 0.1 * np.random.default_rng(0).standard_normal((40, 8000)).astype(np.float32)
    clips = np.concatenate([noise, np.zeros((40, 8000), np.float32)])
    assert near_pairs(fingerprints(clips, 8000)).shape == (0, 2)
