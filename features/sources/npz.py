"""The input file: clips read by row from an npz, without ever holding them all.

An npz is a zip of npy files. Stored samples are read where they lie inside the zip; compressed samples are inflated
once, to a scratch file. Nothing is unpickled. Nothing is mapped into memory either: a mapped file that is cut short
kills the process that reads it.

The layouts are documented in NumPy's ``numpy.lib.format`` and PKWARE's APPNOTE, section 4.3.7.
"""

import errno
import lzma
import os
import shutil
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from features.corpus import Corpus, name_of_clip
from features.errors import InputError
from features.sources.npz_columns import find_member, listed, read_columns, read_header

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


@dataclass(frozen=True)
class Source:
    """The clips of an open npz, by row; made by :func:`open_source`."""

    path: Path
    corpus: Corpus
    labels: NDArray[np.integer[Any]]
    """Positions in the corpus's words, shape (clips,)."""
    groups: NDArray[np.str_] | None
    """The speaker of each clip, shape (clips,), if the file names any; an empty name is an unknown speaker."""
    sets: NDArray[np.str_] | None
    """The set of each clip, shape (clips,), if the file publishes a split."""
    recordings: NDArray[np.str_]
    """Path of the file that each clip was cut from, shape (clips,); empty where unknown."""
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
    def speakers_known(self) -> bool:
        """Whether the file names the speaker of every clip."""
        return self.groups is not None and bool((self.groups != "").all())

    def name_of(self, row: int) -> str:
        """What people read of a clip; see :func:`~features.corpus.name_of_clip`."""
        return name_of_clip(row, str(self.recordings[row]))

    def names_of(self, rows: NDArray[np.int64]) -> str:
        """Name a few clips and count the rest."""
        recordings = self.recordings[rows]
        return f"rows {listed(rows)}" + (f": {listed(recordings)}" if (recordings != "").any() else "")

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
        float32 array, shape (k, samples)
            Samples in [-1, 1].

        Raises
        ------
        InputError
            If the file has been cut short since it was opened.
        """
        raw = np.empty((len(rows), self.corpus.clip_samples), self._dtype)
        for clip, row in zip(raw, rows.tolist(), strict=True):
            self._read_into(clip, row)
        return _to_float32(raw)

    def blocks(self) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """Read all clips once, in order, and compare the checksum that the zip recorded.

        Yields
        ------
        start : int
            Row of the block's first clip.
        clips : float32 array, shape (up to 512, samples)

        Raises
        ------
        InputError
            If the file has been cut short; after the last block, if the bytes are not those that were written.
        """
        crc = zlib.crc32(self._header)
        for start in range(0, self.clips, BLOCK_CLIPS):
            raw = np.empty((min(BLOCK_CLIPS, self.clips - start), self.corpus.clip_samples), self._dtype)
            self._read_into(raw, start)
            crc = zlib.crc32(raw.data, crc)
            yield start, _to_float32(raw)
        if crc != self._crc:
            raise _damaged(self.path, "its samples do not match the checksum recorded in it")

    def _read_into(self, clips: NDArray[Any], row: int) -> None:
        position = self._start + row * self.corpus.clip_samples * clips.itemsize
        if os.preadv(self._file.fileno(), [clips.data], position) != clips.nbytes:
            raise self.changed


@contextmanager
def open_source(path: Path, inflated: Path, corpus: Corpus) -> Iterator[Source]:
    """Open an npz of clips for reading by row.

    Parameters
    ----------
    path
        A zip with ``wav_vals`` (clips, samples), float32 in [-1, 1], and ``label_vals`` text, (clips, 1) or (clips,).
        Where they are known, of the same shape: ``group_vals``, the speakers; ``set_vals``, a published split;
        ``recording_vals``, the files that the clips were cut from. Also ``sample_rate``. Stored or compressed. int16
        samples are divided by 32768 and float64 samples in [-1, 1] rounded; ``warnings`` of the result say so.
    inflated
        Scratch file to write if ``wav_vals`` is compressed; as large as the samples, and the caller's to remove.

    Raises
    ------
    InputError
        If the file is missing, not a zip, cut short or damaged, or does not hold what is described above.
    """
    check_is_npz(path)
    with ExitStack() as stack:
        with _damage_as_input_error(path):
            file = stack.enter_context(open(path, "rb"))
            state = _state_of(os.fstat(file.fileno()))
            archive = stack.enter_context(zipfile.ZipFile(file))
            info = find_member(archive, path, "wav_vals")
            with archive.open(info) as member:
                start = file.tell()  # opening a member leaves the file at its first byte
                if info.compress_type != zipfile.ZIP_STORED:
                    with open(inflated, "wb") as out:
                        shutil.copyfileobj(member, out)
                    file, start = stack.enter_context(open(inflated, "rb")), 0
            file.seek(start)
            shape, fortran_order, dtype = read_header(path, "wav_vals", file)
            header = os.pread(file.fileno(), file.tell() - start, start)
            _check_samples(path, shape, fortran_order, dtype, corpus)
            if info.file_size != len(header) + shape[0] * corpus.clip_samples * dtype.itemsize:
                raise _damaged(path, f"wav_vals has {info.file_size} bytes, too few or too many for its shape {shape}")
            columns = read_columns(archive, path, shape[0], corpus)
        yield Source(
            path, corpus, columns.labels, columns.groups, columns.sets, columns.recordings, file, start + len(header),
            dtype, header, info.CRC, state,
        )  # fmt: skip


def _state_of(status: os.stat_result) -> tuple[int, ...]:
    return status.st_ino, status.st_size, status.st_mtime_ns


def _to_float32(raw: NDArray[Any]) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):  # infinite samples are refused later, by their rows
        clips = raw.astype(np.float32, copy=False)
    return clips / np.float32(32768) if raw.dtype.kind == "i" else clips


def check_is_npz(path: Path) -> None:
    """Raise :class:`InputError` if a path is not a zip file."""
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


def _check_samples(
    path: Path, shape: tuple[int, ...], fortran_order: bool, dtype: np.dtype[Any], corpus: Corpus
) -> None:
    samples = corpus.clip_samples
    if dtype.newbyteorder("=") not in (np.float32, np.float64, np.float16, np.int16):
        problem = (
            f"is {dtype}, whose scale is ambiguous; expected float32 in [-1, 1] (float16 and float64 in [-1, 1] and "
            "int16 are converted), so convert it and save it again"
        )
    elif shape[1:] not in ((samples,), (samples, 1)) or not shape[0]:
        problem = (
            f"has shape {shape}; expected (clips, {samples}), at least one clip of {corpus.clip_seconds:g} s at "
            f"{corpus.sample_rate_hz} Hz, so set corpus.sample_rate_hz and corpus.clip_seconds in params.yaml to what "
            "the clips are, or resample and pad or cut them"
        )
    elif fortran_order:
        problem = "is stored column by column (Fortran order); save it again with numpy.ascontiguousarray"
    else:
        return
    raise InputError(f"wav_vals in {path} {problem}")
