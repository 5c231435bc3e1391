"""The input file: clips read by row from an npz, without ever holding them all.

An npz is a zip of npy files. Stored samples are read where they lie inside the zip; compressed samples are inflated
once, to a scratch file. Nothing is unpickled. Nothing is mapped into memory either: a mapped file that is cut short
kills the process that reads it.

The layouts are documented in NumPy's ``numpy.lib.format`` and PKWARE's APPNOTE, section 4.3.7.
"""

import errno
import io
import lzma
import os
import shutil
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from features.corpus import CLIP_SAMPLES, SAMPLE_RATE_HZ, WORDS
from features.errors import InputError

BLOCK_CLIPS = 512
UNREADABLE = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    RuntimeError,
    ValueError,
    SyntaxError,
    tokenize.TokenError,
)
"""What zipfile and numpy.lib.format raise for damage, besides an ``OSError`` for a place outside the file."""
LISTED = 5
"""How many rows or words an error names before it only counts."""


@dataclass(frozen=True)
class Source:
    """The clips of an open npz, by row; made by :func:`open_source`."""

    path: Path
    labels: NDArray[np.int8]
    """Positions in :data:`features.corpus.WORDS`, shape (clips,)."""
    groups: NDArray[np.str_] | None
    """The speaker of each clip, shape (clips,), if the file names them."""
    _file: IO[bytes]
    """The npz itself or the inflated samples."""
    _start: int
    """Position of the first sample in it, in bytes."""
    _dtype: np.dtype[Any]
    _header: bytes
    """The npy header before the samples; the zip's checksum covers both."""
    _crc: int
    _state: tuple[int, ...]

    @property
    def clips(self) -> int:
        """Number of rows."""
        return len(self.labels)

    @property
    def is_unchanged(self) -> bool:
        """Whether no program has written to the file, or put another in its place, since it was opened."""
        return _state_of(self.path.stat()) == self._state

    @property
    def changed(self) -> InputError:
        """The error for a file that was written to while it was being split."""
        return InputError(f"{self.path} changed while it was being split; run this again when no program writes to it")

    @property
    def warnings(self) -> list[str]:
        """Conversions that reading makes, in words."""
        if self._dtype.kind == "i":
            return [f"{self.path}: wav_vals is int16; every sample is divided by 32768 to lie in [-1, 1)"]
        if self._dtype.itemsize == 8:
            return [f"{self.path}: wav_vals is float64; every sample is rounded to float32"]
        return []

    def read(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Read clips by row, int64 of shape (k,), in the order asked for. Safe in several threads at once.

        Returns
        -------
        float32 array, shape (k, 8000)
            Samples in [-1, 1] at 8 kHz.

        Raises
        ------
        InputError
            If the file has been cut short since it was opened.
        """
        raw = np.empty((len(rows), CLIP_SAMPLES), self._dtype)
        for clip, row in zip(raw, rows.tolist(), strict=True):
            self._read_into(clip, row)
        return _to_float32(raw)

    def blocks(self) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """Read all clips once, in order, and compare the checksum that the zip recorded.

        Yields
        ------
        start : int
            Row of the block's first clip.
        clips : float32 array, shape (up to 512, 8000)

        Raises
        ------
        InputError
            If the file has been cut short; after the last block, if the bytes are not those that were written.
        """
        crc = zlib.crc32(self._header)
        for start in range(0, self.clips, BLOCK_CLIPS):
            raw = np.empty((min(BLOCK_CLIPS, self.clips - start), CLIP_SAMPLES), self._dtype)
            self._read_into(raw, start)
            crc = zlib.crc32(raw.data, crc)
            yield start, _to_float32(raw)
        if crc != self._crc:
            raise _damaged(self.path, "its samples do not match the checksum recorded in it")

    def _read_into(self, clips: NDArray[Any], row: int) -> None:
        position = self._start + row * CLIP_SAMPLES * clips.itemsize
        if os.preadv(self._file.fileno(), [clips.data], position) != clips.nbytes:
            raise self.changed


@contextmanager
def open_source(path: Path, inflated: Path) -> Iterator[Source]:
    """Open an npz of clips for reading by row.

    Parameters
    ----------
    path
        A zip with ``wav_vals`` (clips, 8000), float32 in [-1, 1]; ``label_vals`` text, (clips, 1) or (clips,); and,
        if it knows the speakers, ``group_vals`` text of the same shape. Stored or compressed. int16 samples are
        divided by 32768 and float64 samples in [-1, 1] rounded; ``warnings`` of the result say so.
    inflated
        Scratch file to write if ``wav_vals`` is compressed; as large as the samples, and the caller's to remove.

    Raises
    ------
    InputError
        If the file is missing, not a zip, cut short or damaged, or does not hold what is described above.
    """
    _check_is_npz(path)
    with ExitStack() as stack:
        with _damage_as_input_error(path):
            file = stack.enter_context(open(path, "rb"))
            state = _state_of(os.fstat(file.fileno()))
            archive = stack.enter_context(zipfile.ZipFile(file))
            info = _member(archive, path, "wav_vals")
            with archive.open(info) as member:
                start = file.tell()  # opening a member leaves the file at its first byte
                if info.compress_type != zipfile.ZIP_STORED:
                    with open(inflated, "wb") as out:
                        shutil.copyfileobj(member, out)
                    file, start = stack.enter_context(open(inflated, "rb")), 0
            file.seek(start)
            shape, fortran_order, dtype = _read_header(path, "wav_vals", file)
            header = os.pread(file.fileno(), file.tell() - start, start)
            _check_samples(path, shape, fortran_order, dtype)
            if info.file_size != len(header) + shape[0] * CLIP_SAMPLES * dtype.itemsize:
                raise _damaged(path, f"wav_vals has {info.file_size} bytes, too few or too many for its shape {shape}")
            labels = encode_labels(path, _read_text(archive, path, "label_vals", shape[0]))
            has_groups = "group_vals.npy" in archive.namelist()
            groups = _read_text(archive, path, "group_vals", shape[0]) if has_groups else None
        yield Source(path, labels, groups, file, start + len(header), dtype, header, info.CRC, state)


def encode_labels(path: Path, words: NDArray[np.str_]) -> NDArray[np.int8]:
    """Turn words into label numbers.

    Raises
    ------
    InputError
        If a word is not among the twelve. It names each such word, how often and in which rows it occurs.
    """
    found, number = np.unique(words, return_inverse=True)
    strange = np.flatnonzero(~np.isin(found, WORDS))
    if strange.size:
        rows = {str(found[word]): np.flatnonzero(number == word) for word in strange}
        described = listed([f"{word!r} in {len(at)} clips (rows {listed(at)})" for word, at in rows.items()])
        raise InputError(
            f"label_vals in {path} has words that are not among the twelve: {described}; expected "
            f"{', '.join(WORDS)}, so rename them (to 'unknown', perhaps)"
        )
    return np.array([WORDS.index(word) for word in found], np.int8)[number]


def listed(entries: Sequence[object] | NDArray[np.int64]) -> str:
    """Name a few entries and count the rest: ``3, 8, 9, 12, 40 and 2 more``."""
    head = ", ".join(str(entry) for entry in entries[:LISTED])
    return head if len(entries) <= LISTED else f"{head} and {len(entries) - LISTED} more"


def _state_of(status: os.stat_result) -> tuple[int, ...]:
    return status.st_ino, status.st_size, status.st_mtime_ns


def _to_float32(raw: NDArray[Any]) -> NDArray[np.float32]:
    clips = raw.astype(np.float32, copy=False)
    return clips / np.float32(32768) if raw.dtype.kind == "i" else clips


def _check_is_npz(path: Path) -> None:
    if path.is_file():
        with open(path, "rb") as file:
            if file.read(4) == b"PK\x03\x04":
                return
        problem = "is not a zip file"
    else:
        problem = "is a folder" if path.is_dir() else "does not exist"
    raise InputError(f"{path} {problem}; expected an npz as numpy.savez writes it, so check data.npz in params.yaml")


def _damaged(path: Path, why: str) -> InputError:
    return InputError(f"{path} is damaged: {why}; make or download it again")


@contextmanager
def _damage_as_input_error(path: Path) -> Iterator[None]:
    """Turn the errors that zipfile and numpy raise for damage into a sentence."""
    try:
        yield
    except (OSError, *UNREADABLE) as error:
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):  # a full disk, say
            raise
        raise _damaged(path, f"reading it as an npz failed ({error})") from None


def _member(archive: zipfile.ZipFile, path: Path, name: str) -> zipfile.ZipInfo:
    try:
        return archive.getinfo(f"{name}.npy")
    except KeyError:
        held = ", ".join(sorted(member.removesuffix(".npy") for member in archive.namelist()))
        raise InputError(f"{path} has no array {name}; it holds {held}; expected wav_vals and label_vals") from None


def _read_header(path: Path, name: str, member: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Read shape, Fortran order and dtype, leaving the stream at the first value."""
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


def _check_samples(path: Path, shape: tuple[int, ...], fortran_order: bool, dtype: np.dtype[Any]) -> None:
    if dtype.newbyteorder("=") not in (np.float32, np.float64, np.int16):
        problem = (
            f"is {dtype}, whose scale is ambiguous; expected float32 in [-1, 1] (float64 in [-1, 1] and int16 are "
            "converted), so convert it and save it again"
        )
    elif len(shape) != 2 or shape[1] != CLIP_SAMPLES or not shape[0]:
        problem = (
            f"has shape {shape}; expected (clips, {CLIP_SAMPLES}), at least one clip of one second at "
            f"{SAMPLE_RATE_HZ} Hz, so resample and pad or cut the clips first"
        )
    elif fortran_order:
        problem = "is stored column by column (Fortran order); save it again with numpy.ascontiguousarray"
    else:
        return
    raise InputError(f"wav_vals in {path} {problem}")


def _read_text(archive: zipfile.ZipFile, path: Path, name: str, clips: int) -> NDArray[np.str_]:
    """Read a text array of shape (clips,) or (clips, 1) as shape (clips,)."""
    content = archive.read(_member(archive, path, name))  # compares the checksum
    stream = io.BytesIO(content)
    shape, _, dtype = _read_header(path, name, stream)
    if dtype.kind not in "US":
        raise InputError(f"{name} in {path} is {dtype}; expected text, one entry a clip")
    if shape not in ((clips,), (clips, 1)):
        raise InputError(
            f"the arrays in {path} differ in length: wav_vals has {clips} clips and {name} has shape {shape}; "
            f"expected ({clips}, 1) or ({clips},), so save one entry a clip"
        )
    text = np.frombuffer(content, dtype, clips, stream.tell())
    return np.char.decode(text, "utf-8") if dtype.kind == "S" else text
