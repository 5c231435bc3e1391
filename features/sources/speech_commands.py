"""Speech Commands: clips of an archive or folder, resampled to 8 kHz and one second long, one after the other.

Layouts are those of Pete Warden, "Speech Commands: A Dataset for Limited-Vocabulary Speech Recognition" (2018):
versions 0.01 and 0.02 (``<word>/<speaker>_nohash_<take>.wav`` and ``_background_noise_/<name>.wav``) and their test
archives (``_unknown_/<word>_<speaker>_nohash_<take>.wav.wav`` and ``_silence_/<number>.wav``). Nothing is unpacked:
names inside an archive are parsed, never opened as paths.
"""

import io
import re
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from tarfile import TarInfo

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from features.corpus import CLIP_SAMPLES, SAMPLE_RATE_HZ, WORDS, Recording
from features.errors import InputError
from features.sources.archive import read_archive

NOISE_FOLDER = "_background_noise_"
NOISE_HOP = CLIP_SAMPLES // 2
NOISE_SEGMENT = 10 * CLIP_SAMPLES
"""Windows overlap only inside a segment of ten seconds, and a segment is one group: no sample gets into two sets."""
LARGEST_FILE_BYTES = 64 << 20
SPEAKER = re.compile(r"(?:[a-z]+_)?([0-9a-f]+)_nohash_\d+")


def label_of(folder: str) -> str:
    """The label of a folder's clips.

    Examples
    --------
    >>> label_of("yes"), label_of("marvin"), label_of("_silence_")
    ('yes', 'unknown', 'silence')
    """
    name = folder.strip("_")
    return name if name in WORDS else "unknown"


def group_of(folder: str, file: str) -> str:
    """The speaker in a file's name; if it names none, a group of the file's own.

    Examples
    --------
    >>> group_of("yes", "0a7c2a8d_nohash_1.wav"), group_of("_unknown_", "bed_0a7c2a8d_nohash_0.wav.wav")
    ('0a7c2a8d', '0a7c2a8d')
    >>> group_of("_silence_", "12.wav")
    '_silence_/12'
    """
    named = SPEAKER.match(file)
    return named[1] if named else f"{folder}/{file.split('.')[0]}"


def fit(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Cut the end to one second, or pad it with zeros."""
    samples = samples[:CLIP_SAMPLES]
    return np.pad(samples, (0, CLIP_SAMPLES - samples.size))


def noise_windows(samples: NDArray[np.float32]) -> Iterator[tuple[NDArray[np.float32], int]]:
    """Cut a long recording into one-second windows, half a second apart, and number the segments they lie in."""
    for segment, start in enumerate(range(0, samples.size, NOISE_SEGMENT)):
        stretch = samples[start : start + NOISE_SEGMENT]
        for onset in range(0, stretch.size - CLIP_SAMPLES + 1, NOISE_HOP):
            yield stretch[onset : onset + CLIP_SAMPLES], segment


def decode(name: str, content: bytes) -> NDArray[np.float32]:
    """Decode a wav file to one channel at 8 kHz, band-limited by soxr.

    Raises
    ------
    InputError
        If it is not audio, or has no samples.
    """
    try:
        samples, rate_hz = soundfile.read(io.BytesIO(content), dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise InputError(
            f"{name} is not readable audio ({error.error_string.strip()}); expected a wav file, so replace or remove it"
        ) from None
    if not samples.size:
        raise InputError(f"{name} holds no sound; expected a recording, so replace or remove it")
    return np.asarray(soxr.resample(samples.mean(axis=1), rate_hz, SAMPLE_RATE_HZ, quality="HQ"), np.float32)


def read_recordings(source: Path, warn: Callable[[str], None] = lambda line: None) -> Iterator[Recording]:
    """Read every clip of a Speech Commands archive, in its order, or of a folder, in the order of names.

    ``warn`` is called with a sentence if the archive has no checksum of its contents.

    Raises
    ------
    InputError
        If there is no such archive or folder, it is damaged, or a wav file in it is not audio.
    """
    files: Iterator[tuple[str, str, bytes]]
    if source.is_dir():
        files = ((path.parent.name, path.name, path.read_bytes()) for path in sorted(source.glob("*/*.wav")))
    elif source.is_file():
        files = _archive_files(source, warn)
    else:
        raise InputError(f"{source} does not exist; expected a Speech Commands archive (.tar.gz) or folder")
    for folder, file, content in files:
        samples = decode(f"{folder}/{file} in {source}", content)
        if folder == NOISE_FOLDER:
            for window, segment in noise_windows(samples):
                yield Recording(window, "silence", f"{NOISE_FOLDER}/{file.split('.')[0]}/{segment}")
        else:
            yield Recording(fit(samples), label_of(folder), group_of(folder, file))


def _archive_files(source: Path, warn: Callable[[str], None]) -> Iterator[tuple[str, str, bytes]]:
    """Folder, name and content of each wav file."""

    def wanted(member: TarInfo) -> bool:
        path = PurePosixPath(member.name)
        if path.suffix != ".wav" or len(path.parts) < 2:
            return False
        if member.size > LARGEST_FILE_BYTES:
            raise InputError(f"{member.name} in {source} has {member.size} bytes; expected a short wav file")
        return True

    for name, content in read_archive(source, wanted, warn):
        path = PurePosixPath(name)
        yield path.parts[-2], path.name, content
