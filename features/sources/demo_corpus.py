"""The demo corpus: twelve labels, spoken by many synthetic voices against many backgrounds.

The settings alone decide which word is said, by which speaker, how loud and over which noise;
:mod:`features.sources.espeak` speaks. Clips are sorted by word, as in the reference file.
"""

from collections.abc import Iterator
from typing import Annotated

import numpy as np
import soxr
from msgspec import Meta, Struct
from numpy.typing import NDArray

from features.corpus import CLIP_SAMPLES, SAMPLE_RATE_HZ, WORDS, Recording
from features.sources.espeak import Speaker, Voice, human_variants

ACCENTS = (
    "en-us", "en-us-nyc", "en", "en-gb-scotland", "en-gb-x-gbclan", "en-gb-x-gbcwmd", "en-gb-x-rp", "en-029",
)  # fmt: skip
PITCHES = (35, 43, 50, 57, 65)
RATES = (130, 145, 160, 175, 190)

OTHER_WORDS = (
    "bed", "bird", "cat", "dog", "happy", "house", "marvin", "sheila", "tree", "wow", "zero", "one", "three", "six",
    "seven", "eight", "backward", "forward", "follow", "learn", "visual", "water",
)  # fmt: skip
"""The words of ``unknown``: those of Speech Commands beside the ten."""

LOUDNESS_DB = (-26.0, -8.0)
"""Range of a word's root mean square, relative to full scale."""
SIGNAL_TO_NOISE_DB = (20.0, 45.0)
ONSET_SPREAD = 600
"""How far, in samples, a word may lie from the middle of its clip."""
LOWEST_NOISE_HZ = 20
BACKGROUND_DB = (-60.0, -20.0)
"""Range of the root mean square of a clip of ``silence``."""


class SynthesizeSpec(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Size and seed of the demo corpus."""

    clips: Annotated[int, Meta(ge=len(WORDS), le=150_000)]
    """Clips in all, divided evenly among the twelve labels; espeak-ng has voices enough for 170,000."""
    seed: Annotated[int, Meta(ge=0)]


def clips_per_word(clips: int) -> dict[str, int]:
    """Divide ``clips`` among the labels as evenly as whole numbers allow.

    Examples
    --------
    >>> clips_per_word(25)["yes"], clips_per_word(25)["no"]
    (3, 2)
    """
    each, left_over = divmod(clips, len(WORDS))
    return {word: each + (number < left_over) for number, word in enumerate(WORDS)}


def draw_speakers(count: int, rng: np.random.Generator) -> list[Speaker]:
    """Draw ``count`` different speakers from every combination of accent, variant, pitch and rate."""
    variants = human_variants()
    shape = (len(ACCENTS), len(variants), len(PITCHES), len(RATES))
    drawn = rng.choice(np.prod(shape), size=count, replace=False)
    return [
        Speaker(ACCENTS[accent], variants[variant], PITCHES[pitch], RATES[rate])
        for accent, variant, pitch, rate in zip(*np.unravel_index(drawn, shape), strict=True)
    ]


def place(
    speech: NDArray[np.float32], background: NDArray[np.float32], rng: np.random.Generator
) -> NDArray[np.float32]:
    """Place a spoken word in a clip, at a random onset and loudness, over a background.

    Parameters
    ----------
    speech : float32 array, shape (samples,)
        The word at 8 kHz. An end that does not fit into a clip is cut off.
    background : float32 array, shape (8000,)
        Noise with a root mean square of 1.

    Returns
    -------
    float32 array, shape (8000,)
        In [-1, 1].
    """
    speech = speech[:CLIP_SAMPLES]
    clip = np.zeros(CLIP_SAMPLES, np.float32)
    centred = (CLIP_SAMPLES - speech.size) // 2
    onset = np.clip(centred + rng.integers(-ONSET_SPREAD, ONSET_SPREAD + 1), 0, CLIP_SAMPLES - speech.size)
    loudness = 10 ** (rng.uniform(*LOUDNESS_DB) / 20)
    level = np.sqrt(np.square(speech).sum() / max(speech.size, 1))
    clip[onset : onset + speech.size] = speech * (loudness / max(level, 1e-6))
    clip += background * loudness / 10 ** (rng.uniform(*SIGNAL_TO_NOISE_DB) / 20)
    return np.clip(clip, -1, 1, dtype=np.float32)


def noise(rng: np.random.Generator) -> NDArray[np.float32]:
    """Draw background noise, from hiss to rumble: power falls by 0 to 6 dB an octave.

    Returns
    -------
    float32 array, shape (8000,)
        With a root mean square of 1.
    """
    frequency = np.fft.rfftfreq(CLIP_SAMPLES, 1 / SAMPLE_RATE_HZ)
    amplitude = np.maximum(frequency, LOWEST_NOISE_HZ) ** -rng.uniform(0, 1)
    phase = rng.uniform(0, 2 * np.pi, frequency.size)
    samples = np.fft.irfft(amplitude * np.exp(1j * phase), CLIP_SAMPLES)
    return (samples / np.sqrt(np.mean(np.square(samples)))).astype(np.float32)


def trim(speech: NDArray[np.float32]) -> NDArray[np.float32]:
    """Cut off both ends where they are quieter than a hundredth of the peak."""
    loud = np.flatnonzero(np.abs(speech) > 0.01 * np.abs(speech).max(initial=0))
    return speech[loud[0] : loud[-1] + 1] if loud.size else speech[:0]


def synthesize(spec: SynthesizeSpec) -> Iterator[Recording]:
    """Speak the corpus, clip by clip, sorted by word.

    Every speaker says each of the ten words at most once, and one other word. Each clip of ``silence`` is a group.
    """
    voice = Voice()
    counts = clips_per_word(spec.clips)
    speakers = draw_speakers(max(counts.values()), np.random.default_rng(spec.seed))
    for number, word in sorted(enumerate(WORDS), key=lambda item: item[1]):
        for take in range(counts[word]):
            rng = np.random.default_rng([spec.seed, number, take])
            background = noise(rng)
            if word == "silence":
                level = 10 ** (rng.uniform(*BACKGROUND_DB) / 20)
                yield Recording(np.clip(background * level, -1, 1), word, f"noise-{take}")
                continue
            said = str(rng.choice(OTHER_WORDS)) if word == "unknown" else word
            spoken = voice.say(said, speakers[take])
            speech = trim(soxr.resample(spoken, voice.sample_rate_hz, SAMPLE_RATE_HZ))
            yield Recording(place(speech, background, rng), word, speakers[take].name)
