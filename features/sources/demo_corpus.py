"""The demo corpus: the words of the corpus, spoken by many synthetic voices against many backgrounds.

The settings alone decide which word is said, by which speaker, how loud and over which noise;
:mod:`features.sources.espeak` speaks. Clips are sorted by word, as in the reference file.
"""

from collections.abc import Iterator, Sequence
from typing import Annotated

import numpy as np
import soxr
from msgspec import Meta, Struct
from numpy.typing import NDArray

from features.corpus import WORDS, Corpus, Recording
from features.errors import InputError
from features.sources.espeak import Speaker, Voice, human_variants, languages

ACCENTS = (
    "en-us", "en-us-nyc", "en", "en-gb-scotland", "en-gb-x-gbclan", "en-gb-x-gbcwmd", "en-gb-x-rp", "en-029",
)  # fmt: skip
"""Accents of English; another language is spoken with one."""
PITCHES = (35, 43, 50, 57, 65)
RATES = (130, 145, 160, 175, 190)

OTHER_WORDS = (
    "bed", "bird", "cat", "dog", "happy", "house", "marvin", "sheila", "tree", "wow", "zero", "one", "three", "six",
    "seven", "eight", "backward", "forward", "follow", "learn", "visual", "water",
)  # fmt: skip
"""The words of ``unknown``: those of Speech Commands beside the ten."""

LOUDNESS_DB = (-30.0, -12.0)
"""Range of a word's root mean square, relative to full scale: about that of recorded words."""
SIGNAL_TO_NOISE_DB = (20.0, 45.0)
ONSET_SPREAD_S = 0.075
"""How far a word may lie from the middle of its clip."""
LOWEST_NOISE_HZ = 20
BACKGROUND_DB = (-60.0, -20.0)
"""Range of the root mean square of a clip of ``silence``."""


class SynthesizeSpec(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Size and seed of the demo corpus."""

    clips: Annotated[int, Meta(ge=2, le=150_000)]
    """Clips in all, divided evenly among the words; espeak-ng has voices enough for 170,000 of twelve English words."""
    language: str = "en"
    """A language of espeak-ng, such as ``ko``."""
    seed: Annotated[int, Meta(ge=0)]


def clips_per_word(clips: int, words: Sequence[str] = WORDS) -> dict[str, int]:
    """Divide ``clips`` among words as evenly as whole numbers allow.

    Examples
    --------
    >>> clips_per_word(25)["yes"], clips_per_word(25)["no"]
    (3, 2)
    """
    each, left_over = divmod(clips, len(words))
    return {word: each + (number < left_over) for number, word in enumerate(words)}


def draw_speakers(count: int, language: str, rng: np.random.Generator) -> list[Speaker]:
    """Draw ``count`` different speakers from every combination of accent, variant, pitch and rate.

    Raises
    ------
    InputError
        If espeak-ng does not speak the language, or has fewer voices.
    """
    if language not in languages():
        raise InputError(
            f"synthesize.language is {language!r}; expected one that espeak-ng speaks: {', '.join(languages())}"
        )
    accents, variants = ACCENTS if language == "en" else (language,), human_variants()
    shape = (len(accents), len(variants), len(PITCHES), len(RATES))
    if count > np.prod(shape):
        raise InputError(
            f"synthesize.clips asks for {count} clips of a word, and espeak-ng has {np.prod(shape)} voices of "
            f"{language!r}; expected at most a clip a voice, so lower it"
        )
    drawn = rng.choice(np.prod(shape), size=count, replace=False)
    return [
        Speaker(accents[accent], variants[variant], PITCHES[pitch], RATES[rate])
        for accent, variant, pitch, rate in zip(*np.unravel_index(drawn, shape), strict=True)
    ]


def place(
    speech: NDArray[np.float32], background: NDArray[np.float32], rate_hz: int, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Place a spoken word in a clip, at a random onset and loudness, over a background.

    Parameters
    ----------
    speech : float32 array, shape (samples,)
        The word. An end that does not fit into a clip is cut off.
    background : float32 array, shape (clip samples,)
        Noise with a root mean square of 1.
    rate_hz : int
        Of both.

    Returns
    -------
    float32 array, shape (clip samples,)
        In [-1, 1]: a clip beyond full scale is scaled down, because clipping would distort the word.
    """
    speech = speech[: background.size]
    clip = np.zeros(background.size, np.float32)
    room, spread = background.size - speech.size, round(ONSET_SPREAD_S * rate_hz)
    onset = np.clip(room // 2 + rng.integers(-spread, spread + 1), 0, room)
    loudness = 10 ** (rng.uniform(*LOUDNESS_DB) / 20)
    level = np.sqrt(np.square(speech).sum() / max(speech.size, 1))
    clip[onset : onset + speech.size] = speech * (loudness / max(level, 1e-6))
    clip += background * loudness / 10 ** (rng.uniform(*SIGNAL_TO_NOISE_DB) / 20)
    return clip / max(np.abs(clip).max(), 1)


def noise(corpus: Corpus, rng: np.random.Generator) -> NDArray[np.float32]:
    """Draw background noise, from hiss to rumble: power falls by 0 to 6 dB an octave.

    Returns
    -------
    float32 array, shape (clip samples,)
        With a root mean square of 1.
    """
    frequency = np.fft.rfftfreq(corpus.clip_samples, 1 / corpus.sample_rate_hz)
    amplitude = np.maximum(frequency, LOWEST_NOISE_HZ) ** -rng.uniform(0, 1)
    phase = rng.uniform(0, 2 * np.pi, frequency.size)
    samples = np.fft.irfft(amplitude * np.exp(1j * phase), corpus.clip_samples)
    return (samples / np.sqrt(np.mean(np.square(samples)))).astype(np.float32)


def trim(speech: NDArray[np.float32]) -> NDArray[np.float32]:
    """Cut off both ends where they are quieter than a hundredth of the peak."""
    loud = np.flatnonzero(np.abs(speech) > 0.01 * np.abs(speech).max(initial=0))
    return speech[loud[0] : loud[-1] + 1] if loud.size else speech[:0]


def synthesize(spec: SynthesizeSpec, corpus: Corpus) -> Iterator[Recording]:
    """Speak the corpus, clip by clip, sorted by word.

    Every speaker says each word at most once. For ``unknown`` they say another word, and ``silence`` is noise, of which
    each clip is a group.

    Raises
    ------
    InputError
        As :func:`draw_speakers` does.
    """
    rate_hz, others = corpus.sample_rate_hz, [word for word in OTHER_WORDS if word not in corpus.words]
    counts = clips_per_word(spec.clips, corpus.words)
    speakers = draw_speakers(max(counts.values()), spec.language, np.random.default_rng(spec.seed))
    voice = Voice()
    for number, word in sorted(enumerate(corpus.words), key=lambda item: item[1]):
        for take in range(counts[word]):
            rng = np.random.default_rng([spec.seed, number, take])
            background = noise(corpus, rng)
            if word == "silence":
                level = 10 ** (rng.uniform(*BACKGROUND_DB) / 20)
                yield Recording(np.clip(background * level, -1, 1), word, f"noise-{take}")
                continue
            said = str(rng.choice(others)) if word == "unknown" else word
            spoken = voice.say(said, speakers[take])
            speech = trim(soxr.resample(spoken, voice.sample_rate_hz, rate_hz))
            yield Recording(place(speech, background, rate_hz, rng), word, speakers[take].name)
