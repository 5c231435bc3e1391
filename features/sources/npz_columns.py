"""What an npz says of each clip beside its samples: label, speaker, set, recording. Checked, never unpickled."""

import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from features.corpus import Corpus, label_dtype
from features.errors import InputError

LISTED = 5
"""How many rows or words an error names before it only counts."""
SETS = ("train", "validation", "test")
RATES = ("sample_rate", "sample_rate_hz", "sampling_rate", "sr", "rate")
"""Names of an array that holds the sample rate."""


@dataclass(frozen=True)
class Columns:
    """What is known of each clip, shape (clips,) each."""

    labels: NDArray[np.integer[Any]]
    """Positions in the corpus's words."""
    groups: NDArray[np.str_] | None
    """Speakers; an empty name is an unknown speaker. None if the file names none."""
    sets: NDArray[np.str_] | None
    """``train``, ``validation`` or ``test``, if the file publishes a split."""
    recordings: NDArray[np.str_]
    """Path of the file that each clip was cut from; empty where unknown."""


def read_columns(archive: zipfile.ZipFile, path: Path, clips: int, corpus: Corpus) -> Columns:
    """Read labels, speakers, sets and recordings.

    Raises
    ------
    InputError
        If an array is missing, of another type or length, or holds other words, sets or another sample rate than
        expected.
    """
    names = {name.removesuffix(".npy") for name in archive.namelist()}
    for name in sorted(names.intersection(RATES)):
        rates = np.unique(_read(archive, path, name))
        if rates.tolist() != [corpus.sample_rate_hz]:
            raise InputError(
                f"{name} in {path} is {listed(rates)}; expected corpus.sample_rate_hz of params.yaml, "
                f"{corpus.sample_rate_hz}, so correct that setting or resample the clips"
            )
    labels = encode_labels(path, _read_text(archive, path, "label_vals", clips), corpus)
    groups = _read_text(archive, path, "group_vals", clips) if "group_vals" in names else None
    if groups is not None and not (groups != "").any():
        groups = None
    sets = _read_text(archive, path, "set_vals", clips) if "set_vals" in names else None
    if sets is not None and not np.isin(sets, SETS).all():
        raise InputError(
            f"set_vals in {path} holds {listed(np.unique(sets[~np.isin(sets, SETS)]))}; expected one of "
            f"{', '.join(SETS)} for every clip, so complete it or leave it out"
        )
    recordings = np.full(clips, "")
    if "recording_vals" in names:
        recordings = np.array([printable(each) for each in _read_text(archive, path, "recording_vals", clips).tolist()])
    return Columns(labels, groups, sets, recordings)


def encode_labels(path: Path, words: NDArray[np.str_], corpus: Corpus) -> NDArray[np.integer[Any]]:
    """Turn words into label numbers.

    Raises
    ------
    InputError
        If the corpus does not name a word. It names each such word, how often and in which rows it occurs.
    """
    found, number = np.unique(words, return_inverse=True)
    strange = np.flatnonzero(~np.isin(found, corpus.words))
    if strange.size:
        rows = {str(found[word]): np.flatnonzero(number == word) for word in strange}
        meant = {word.casefold(): f", perhaps {word!r}" for word in corpus.words}
        described = listed(
            [
                f"{word!r}{meant.get(word.strip().casefold(), '')} in {len(at)} clips (rows {listed(at)})"
                for word, at in rows.items()
            ]
        )
        raise InputError(
            f"label_vals in {path} has words that corpus.words in params.yaml does not name: {described}; expected "
            f"{', '.join(corpus.words)}, so add them there or rename them"
        )
    return np.array([corpus.words.index(word) for word in found], label_dtype(corpus.words))[number]


def listed(entries: Sequence[object] | NDArray[Any]) -> str:
    """Name a few entries and count the rest: ``3, 8, 9, 12, 40 and 2 more``."""
    head = ", ".join(str(entry) for entry in entries[:LISTED])
    return head if len(entries) <= LISTED else f"{head} and {len(entries) - LISTED} more"


def printable(text: str) -> str:
    r"""Escape a text that holds a character without a shape, such as a line break or half a code point.

    Examples
    --------
    >>> printable("예/a 1.wav"), printable("yes/\u202ea.wav")
    ('예/a 1.wav', 'yes/\\u202ea.wav')
    """
    return text if text.isprintable() else ascii(text)[1:-1]


def find_member(archive: zipfile.ZipFile, path: Path, name: str) -> zipfile.ZipInfo:
    """Find an array in the zip.

    Raises
    ------
    InputError
        If there is none of that name; it lists those there are.
    """
    try:
        return archive.getinfo(f"{name}.npy")
    except KeyError:
        held = ", ".join(sorted(member.removesuffix(".npy") for member in archive.namelist()))
        raise InputError(f"{path} has no array {name}; it holds {held}; expected wav_vals and label_vals") from None


def read_header(path: Path, name: str, member: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Read shape, Fortran order and dtype of an npy file, leaving the stream at the first value.

    Raises
    ------
    InputError
        If it holds pickled objects.
    """
    if np.lib.format.read_magic(member) == (1, 0):
        shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(member)
    else:
        shape, fortran_order, dtype = np.lib.format.read_array_header_2_0(member)
    if dtype.hasobject:
        raise InputError(
            f"{name} in {path} holds pickled Python objects, which are never loaded; expected float32 samples or text, "
            "so convert it with astype and save it again"
        )
    return shape, fortran_order, dtype


def _read(archive: zipfile.ZipFile, path: Path, name: str) -> NDArray[Any]:
    content = archive.read(find_member(archive, path, name))  # compares the checksum
    stream = io.BytesIO(content)
    shape, fortran_order, dtype = read_header(path, name, stream)
    values = np.frombuffer(content, dtype, int(np.prod(shape)), stream.tell())
    return values.reshape(shape, order="F" if fortran_order else "C")


def _read_text(archive: zipfile.ZipFile, path: Path, name: str, clips: int) -> NDArray[np.str_]:
    """Read a text array of shape (clips,), or (clips, 1) and the like, as shape (clips,); numbers become text."""
    values = _read(archive, path, name)
    if values.dtype.kind in "iu" and name == "group_vals":
        values = values.astype(np.str_)
    if values.dtype.kind not in "US":
        hint = "; name the labels by saving numpy.array(words)[label_vals]" if name == "label_vals" else ""
        raise InputError(f"{name} in {path} is {values.dtype}; expected text, one entry a clip{hint}")
    if values.size != clips or values.shape[:1] != (clips,):
        raise InputError(
            f"the arrays in {path} differ in length: wav_vals has {clips} clips and {name} has shape {values.shape}; "
            f"expected ({clips}, 1) or ({clips},), so save one entry a clip"
        )
    text = values.reshape(clips)
    return np.char.decode(text, "utf-8") if text.dtype.kind == "S" else text
