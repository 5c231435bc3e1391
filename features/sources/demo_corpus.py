"""The embedded corpus: twelve labels, really spoken by many synthetic voices against many backgrounds.

What is said, by whom, how loud and against what is a pure function of the settings; :mod:`features.sources.espeak`
lends the voice. The clips come word by word, as in the reference file, and are written by :mod:`features.sources.npz`.
"""

import math
from collections.abc import Iterable, Iterator
from typing import Annotated

import numpy as np
import soxr
from msgspec import Meta, Struct
from numpy.typing import NDArray

from features.corpus import CLIP_SAMPLES, SAMPLE_RATE_HZ, WORDS
from features.errors import InputError
from features.sources import noise
from features.sources.espeak import Speaker, Voice

ACCENTS = (
    "en-us", "en-us-nyc", "en", "en-gb-scotland", "en-gb-x-gbclan", "en-gb-x-gbcwmd", "en-gb-x-rp", "en-029",
)  # fmt: skip
PITCHES = (35, 43, 50, 57, 65)
RATES = (130, 145, 160, 175, 190)
CARICATURES = ("robo", "croak", "klatt", "tweaky", "fast", "zac")
"""Parts of the names of voice variants that hardly sound like a person."""

OTHER_WORDS = (
    "bed", "bird", "cat", "dog", "happy", "house", "marvin", "sheila", "tree", "wow", "zero", "one", "three", "six",
    "seven", "eight", "backward", "forward", "follow", "learn", "visual", "water",
)  # fmt: skip
"""What ``unknown`` is made of: words that Speech Commands has beside the ten."""

LOUDNESS_DB = (-26.0, -8.0)
"""Range of a word's root mean square, relative to full scale."""
SIGNAL_TO_NOISE_DB = (20.0, 45.0)
ONSET_SPREAD = 600
"""How far, in samples, a word may start from where it would stand in the middle of its clip."""
BACKGROUND_DB = (-60.0, -20.0)
"""Range of the root mean square of a clip of ``silence``."""


Utterance = tuple[NDArray[np.float32], str, str]
"""A clip, its word and its group."""


class SynthesizeSpec(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How large the embedded corpus is, and which one of all such corpora it is."""

    clips: Annotated[int, Meta(ge=len(WORDS), le=200_000)]
    """Clips in all, shared out evenly among the twelve labels."""
    seed: Annotated[int, Meta(ge=0)]


def human_variants(variants: Iterable[str]) -> list[str]:
    """Leave out the variants that imitate machines and monsters.

    Examples
    --------
    >>> human_variants(["f1", "UniRobot", "klatt3"])
    ['f1']
    """
    return [name for name in variants if not any(part in name.lower() for part in CARICATURES)]


def clips_per_word(clips: int) -> dict[str, int]:
    """Share ``clips`` out among the labels as evenly as whole numbers allow.

    Examples
    --------
    >>> clips_per_word(25)["yes"], clips_per_word(25)["no"]
    (3, 2)
    """
    each, left_over = divmod(clips, len(WORDS))
    return {word: each + (number < left_over) for number, word in enumerate(WORDS)}


def draw_speakers(count: int, variants: list[str], rng: np.random.Generator) -> list[Speaker]:
    """Draw ``count`` different speakers from every combination of accent, variant, pitch and rate.

    Raises
    ------
    InputError
        If there are fewer.
    """
    shape = (len(ACCENTS), len(variants), len(PITCHES), len(RATES))
    most = math.prod(shape)
    if count > most:
        raise InputError(
            f"synthesize.clips asks for {count} speakers, and the synthesiser has {most} voices; expected at most "
            f"{most * len(WORDS)} clips"
        )
    drawn = rng.choice(np.prod(shape), size=count, replace=False)
    return [
        Speaker(ACCENTS[accent], variants[variant], PITCHES[pitch], RATES[rate])
        for accent, variant, pitch, rate in zip(*np.unravel_index(drawn, shape), strict=True)
    ]


def place(
    speech: NDArray[np.float32], background: NDArray[np.float32], rng: np.random.Generator
) -> NDArray[np.float32]:
    """Lay a spoken word into one clip, at a random onset and loudness, over a background.

    Parameters
    ----------
    speech : float32 array, shape (samples,)
        The word at 8 kHz. What does not fit into a clip is cut off its end.
    background : float32 array, shape (8000,)
        Noise with a root mean square of 1.
    rng : numpy.random.Generator

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


def trim(speech: NDArray[np.float32]) -> NDArray[np.float32]:
    """Cut off what is quieter than a hundredth of the peak at both ends."""
    loud = np.flatnonzero(np.abs(speech) > 0.01 * np.abs(speech).max(initial=0))
    return speech[loud[0] : loud[-1] + 1] if loud.size else speech[:0]


def synthesize(spec: SynthesizeSpec, voice: Voice, variants: list[str]) -> Iterator[Utterance]:
    """Speak the corpus, clip by clip, sorted by word.

    Every speaker says each of the ten words at most once, and one other word.

    Parameters
    ----------
    spec : SynthesizeSpec
    voice : Voice
        A synthesiser that has not spoken yet: its sound depends a little on what it said before.
    variants : list of str
        Voice variants to draw speakers from.

    Yields
    ------
    clip : float32 array, shape (8000,)
        In [-1, 1] at 8 kHz.
    word : str
        One of the twelve labels.
    group : str
        The speaker; for ``silence``, which nobody speaks, a name of the clip's own.
    """
    counts = clips_per_word(spec.clips)
    speakers = draw_speakers(max(counts.values()), variants, np.random.default_rng(spec.seed))
    for number, word in sorted(enumerate(WORDS), key=lambda item: item[1]):
        for take in range(counts[word]):
            rng = np.random.default_rng([spec.seed, number, take])
            kind = noise.KINDS[rng.integers(len(noise.KINDS))]
            background = kind(rng)
            if word == "silence":
                level = 10 ** (rng.uniform(*BACKGROUND_DB) / 20)
                yield np.clip(background * level, -1, 1), word, f"{kind.__name__}-{take}"
                continue
            said = str(rng.choice(OTHER_WORDS)) if word == "unknown" else word
            spoken = voice.say(said, speakers[take])
            speech = trim(soxr.resample(spoken, voice.sample_rate_hz, SAMPLE_RATE_HZ))
            yield place(speech, background, rng), word, speakers[take].name
