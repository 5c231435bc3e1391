"""The input file: clips read from, and written to, an npz without ever holding them all.

An npz is a zip of npy files. A member that is stored as it is gets read where it lies inside the zip; a compressed one
is inflated once, in blocks, to a scratch file. Nothing is ever unpickled. Nothing is mapped into memory either, because
the system kills who reads mapped samples of a file that somebody has cut short.

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
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from features.corpus import CLIP_SAMPLES, SAMPLE_RATE_HZ, WORDS
from features.errors import InputError
from features.file_state import FileState

BLOCK_CLIPS = 512
COPY_BYTES = 1 << 22
SCALED_PEAK = 4.0
"""Samples in [-1, 1] may overshoot a little after resampling; beyond this they were never scaled to it."""
UNREADABLE = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    RuntimeError,
    ValueError,
)
"""What zipfile raises, by what is wrong with a file."""
LISTED = 5
"""How many rows or words an error names before it only counts."""


@dataclass(frozen=True)
class NpyHeader:
    """What the first bytes of an npy member promise."""

    shape: tuple[int, ...]
    fortran_order: bool
    dtype: np.dtype[Any]
    header_bytes: int

    @property
    def data_bytes(self) -> int:
        """Size of the values that follow the header."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize


def listed(numbers: NDArray[np.int64]) -> str:
    """Name a few numbers and count the rest: ``3, 8, 9 and 2 more``."""
    head = ", ".join(str(number) for number in numbers[:LISTED])
    return head if len(numbers) <= LISTED else f"{head} and {len(numbers) - LISTED} more"


def read_header(path: Path, member: IO[bytes]) -> NpyHeader:
    """Read an npy header, leaving the stream at the first byte of data.

    Raises
    ------
    InputError
        If it is none.
    """
    try:
        version = np.lib.format.read_magic(member)
        if version == (1, 0):
            shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(member)
        else:
            shape, fortran_order, dtype = np.lib.format.read_array_header_2_0(member)
    except (ValueError, SyntaxError, tokenize.TokenError) as error:  # NumPy reads it as Python
        raise damaged(path, f"{getattr(member, 'name', 'a member')} is not an npy array ({error})") from None
    return NpyHeader(shape, fortran_order, dtype, member.tell())


class Source:
    """The clips of an open npz, by row; made by :func:`open_source`.

    Attributes
    ----------
    path : Path
    clips : int
        Number of rows.
    labels : int8 array, shape (clips,)
        Positions in :data:`features.corpus.WORDS`.
    groups : text array, shape (clips,), or None
        Who speaks each clip, where the file says so.
    state : FileState
        Of the file, when it was opened.
    notes : list of str
        Conversions that reading makes, in words.
    """

    def __init__(
        self,
        path: Path,
        header: NpyHeader,
        labels: NDArray[np.int8],
        groups: NDArray[np.str_] | None,
        state: FileState,
        opening: Callable[[], tuple[int, int]],
        checksums: tuple[int, int | None],
    ) -> None:
        self.path = path
        self._header = header
        self._opening = opening
        self._opened: tuple[int, int] | None = None
        self._lock = Lock()
        self._header_crc, self._crc = checksums
        self.clips = header.shape[0]
        self.labels = labels
        self.groups = groups
        self.state = state
        self.notes: list[str] = []
        if header.dtype.kind == "i":
            self.notes.append(f"{path}: wav_vals is int16; every sample is divided by 32768 to lie in [-1, 1)")
        elif header.dtype.itemsize == 8:
            self.notes.append(f"{path}: wav_vals is float64; every sample is rounded to float32")

    def _read_into(self, clips: NDArray[np.generic], row: int) -> None:
        """Read consecutive clips as they are stored, from a row on; what is compressed is inflated first."""
        with self._lock:
            if self._opened is None:
                self._opened = self._opening()
        handle, start = self._opened
        left = clips.reshape(-1).view(np.uint8)
        at = start + row * CLIP_SAMPLES * clips.itemsize
        while left.size:
            read = os.preadv(handle, [left.data], at)
            if not read:
                raise InputError(
                    f"{self.path} ends before its samples do, which it did not when it was opened; run this again when "
                    "nobody writes to it"
                )
            left, at = left[read:], at + read

    def _convert(self, raw: NDArray[np.generic]) -> NDArray[np.float32]:
        converted = raw.astype(np.float32, copy=False)
        return converted / np.float32(32768) if raw.dtype.kind == "i" else converted

    def read(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Read clips by row, in the order asked for.

        Parameters
        ----------
        rows : int64 array, shape (k,)

        Returns
        -------
        float32 array, shape (k, 8000)
            Samples in [-1, 1] at 8 kHz.
        """
        raw = np.empty((len(rows), CLIP_SAMPLES), self._header.dtype)
        for place, row in enumerate(rows.tolist()):
            self._read_into(raw[place], row)
        return self._convert(raw)

    def blocks(self) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """Read all clips once, in order, and hold the bytes against the checksum that the zip recorded.

        Yields
        ------
        start : int
            Row of the block's first clip.
        clips : float32 array, shape (up to 512, 8000)

        Raises
        ------
        InputError
            After the last block, if the bytes are not those that were written.
        """
        crc = self._header_crc
        for start in range(0, self.clips, BLOCK_CLIPS):
            raw = np.empty((min(BLOCK_CLIPS, self.clips - start), CLIP_SAMPLES), self._header.dtype)
            self._read_into(raw, start)
            if self._crc is not None:
                crc = zlib.crc32(raw.data, crc)
            yield start, self._convert(raw)
        if self._crc is not None and crc != self._crc:
            raise damaged(self.path, "its samples do not match the checksum recorded in it")


def damaged(path: Path, why: str) -> InputError:
    """Say of a file that its bytes are not what they were."""
    return InputError(f"{path} is damaged: {why}; make or download it again")


def _check_samples(path: Path, header: NpyHeader) -> None:
    if header.dtype.hasobject:
        raise InputError(
            f"wav_vals in {path} holds pickled Python objects, which are never loaded; expected a float32 array of "
            f"shape (clips, {CLIP_SAMPLES}), so save it again from a plain array"
        )
    kind = header.dtype.newbyteorder("=")
    if kind not in (np.float32, np.float64, np.int16):
        raise InputError(
            f"wav_vals in {path} is {header.dtype}, whose scale is ambiguous; expected float32 in [-1, 1] (float64 in "
            "[-1, 1] and int16 are converted), so convert it and save it again"
        )
    if len(header.shape) != 2 or header.shape[1] != CLIP_SAMPLES:
        raise InputError(
            f"wav_vals in {path} has shape {header.shape}; expected (clips, {CLIP_SAMPLES}), one second at "
            f"{SAMPLE_RATE_HZ} Hz a clip, so resample and pad or cut the clips first"
        )
    if header.shape[0] == 0:
        raise InputError(f"wav_vals in {path} holds no clips; expected at least one of each word")
    if header.fortran_order:
        raise InputError(
            f"wav_vals in {path} is stored column by column (Fortran order), so that a clip is not in one piece; save "
            "it again with numpy.ascontiguousarray"
        )


def _member(archive: zipfile.ZipFile, path: Path, name: str) -> zipfile.ZipInfo:
    try:
        return archive.getinfo(f"{name}.npy")
    except KeyError:
        held = ", ".join(sorted(info.filename.removesuffix(".npy") for info in archive.infolist())) or "nothing"
        raise InputError(f"{path} has no array {name}; it holds {held}; expected wav_vals and label_vals") from None


def _read_text(archive: zipfile.ZipFile, path: Path, name: str, clips: int) -> NDArray[np.str_]:
    """Read a text array of shape (clips,) or (clips, 1) as shape (clips,)."""
    with archive.open(_member(archive, path, name)) as member:
        header = read_header(path, member)
        if header.dtype.hasobject:
            raise InputError(
                f"{name} in {path} holds pickled Python objects, which are never loaded; expected text such as "
                f'dtype "<U7", so save it again with {name}.astype(str)'
            )
        if header.dtype.kind not in "US":
            raise InputError(f"{name} in {path} is {header.dtype}; expected text, one entry a clip")
        if header.shape not in ((clips,), (clips, 1)):
            raise InputError(
                f"the arrays in {path} differ in length: wav_vals has {clips} clips and {name} has shape "
                f"{header.shape}; expected ({clips}, 1) or ({clips},)"
            )
        raw = member.read(header.data_bytes + 1)
    if len(raw) != header.data_bytes:
        raise damaged(path, f"{name} has {len(raw)} bytes of data where {header.data_bytes} were promised")
    text = np.frombuffer(raw, header.dtype).reshape(clips)
    try:
        return text.astype(np.str_, copy=False)
    except UnicodeDecodeError:
        raise InputError(f"{name} in {path} holds bytes that are not ASCII; save it as text instead") from None


def encode_labels(path: Path, words: NDArray[np.str_]) -> NDArray[np.int8]:
    """Turn words into label numbers.

    Raises
    ------
    InputError
        If a word is none of the twelve; names the words, how often and in which rows they stand.
    """
    known, inverse = np.unique(words, return_inverse=True)
    strange = [word for word in known if word not in WORDS]
    if strange:
        described = "; ".join(
            f"{str(word)!r} in {len(rows)} clips (rows {listed(rows)})"
            for word in strange[:LISTED]
            for rows in [np.flatnonzero(words == word)]
        )
        more = f"; and {len(strange) - LISTED} other words" if len(strange) > LISTED else ""
        raise InputError(
            f"label_vals in {path} has words that are not among the twelve: {described}{more}; expected "
            f"{', '.join(WORDS)}, so rename them (to 'unknown', perhaps)"
        )
    return np.array([WORDS.index(word) for word in known], np.int8)[inverse.reshape(-1)]


def _data_offset(file: IO[bytes], info: zipfile.ZipInfo) -> int:
    """Where a member's own bytes start: behind its local header, whose two lengths differ from the directory's."""
    file.seek(info.header_offset)
    local = file.read(30)
    name_bytes, extra_bytes = struct.unpack("<HH", local[26:30])
    return info.header_offset + 30 + name_bytes + extra_bytes


@contextmanager
def open_source(path: Path, inflated: Path) -> Iterator[Source]:
    """Open an npz of clips for reading by row.

    Parameters
    ----------
    path : Path
        A zip with ``wav_vals`` (clips, 8000), float32 in [-1, 1]; ``label_vals`` text, (clips, 1) or (clips,); and,
        if it knows the speakers, ``group_vals`` text of the same shape. Stored or compressed. int16 samples are
        divided by 32768 and float64 samples in [-1, 1] rounded; ``notes`` of the result say so.
    inflated : Path
        A file to write when samples are wanted and ``wav_vals`` is compressed; as large as the samples, and the
        caller's to remove.

    Yields
    ------
    Source

    Raises
    ------
    InputError
        If the file is missing, not a zip, cut short or damaged, or does not hold what is described above.
    """
    with ExitStack() as stack:
        with _mendable(path):
            file = stack.enter_context(open(path, "rb"))
            archive = stack.enter_context(zipfile.ZipFile(file))
            state = FileState.of(os.fstat(file.fileno()))
            info = _member(archive, path, "wav_vals")
            with archive.open(info) as member:
                header = read_header(path, member)
            _check_samples(path, header)
            if info.file_size != header.header_bytes + header.data_bytes:
                raise damaged(path, f"wav_vals has {info.file_size} bytes and promises {header.data_bytes}")
            if info.compress_type == zipfile.ZIP_STORED:
                start = _data_offset(file, info)
                file.seek(start)
                header_crc = zlib.crc32(file.read(header.header_bytes))
                start += header.header_bytes
                crc: int | None = info.CRC
                if os.fstat(file.fileno()).st_size < start + header.data_bytes:
                    raise damaged(path, "it ends before its samples do")

                def opening() -> tuple[int, int]:
                    return file.fileno(), start
            else:
                header_crc, crc = 0, None  # zipfile compares the checksum while inflating

                def opening() -> tuple[int, int]:
                    with _mendable(path), archive.open(info) as member, open(inflated, "wb") as out:
                        shutil.copyfileobj(member, out, COPY_BYTES)
                    return stack.enter_context(open(inflated, "rb")).fileno(), header.header_bytes

            labels = encode_labels(path, _read_text(archive, path, "label_vals", header.shape[0]))
            has_groups = "group_vals.npy" in archive.namelist()
            groups = _read_text(archive, path, "group_vals", header.shape[0]) if has_groups else None
        yield Source(path, header, labels, groups, state, opening, (header_crc, crc))


@contextmanager
def _mendable(path: Path) -> Iterator[None]:
    """Turn what Python's readers of zips and arrays say of a file into a sentence."""
    try:
        yield
    except FileNotFoundError as error:
        if error.filename != str(path):
            raise
        raise InputError(f"{path} does not exist; expected an npz of clips, so check data.npz in params.yaml") from None
    except IsADirectoryError as error:
        if error.filename != str(path):
            raise
        raise InputError(f"{path} is a folder; expected an npz file, so check data.npz in params.yaml") from None
    except OSError as error:
        if error.errno != errno.EINVAL:  # places in it that cannot be
            raise
        raise damaged(path, f"reading it as a zip failed ({error})") from None
    except UNREADABLE as error:
        try:
            with open(path, "rb") as file:
                is_zip = file.read(4) == b"PK\x03\x04"
        except ValueError:
            raise InputError(
                f"{str(path)!r} is no path; expected that of an npz, so check data.npz in params.yaml"
            ) from None
        if is_zip:
            raise damaged(path, f"reading it as a zip failed ({error})") from None
        raise InputError(
            f"{path} is not a zip file; expected an npz as numpy.savez writes it, so check data.npz in params.yaml"
        ) from None


def write_npz(
    path: Path,
    clips: int,
    blocks: Iterable[NDArray[np.float32]],
    words: Iterable[str],
    groups: Iterable[str],
    *,
    maker: str = "",
) -> None:
    """Write an npz of clips as they come.

    Parameters
    ----------
    path : Path
        File to write; members are stored, not compressed, so that clips can be read where they lie. Same input,
        same bytes.
    clips : int
        How many clips the blocks hold in all.
    blocks : iterable of float32 arrays, shape (any, 8000)
        Samples in [-1, 1].
    words, groups : iterables of str
        One a clip; read only after the last block.
    maker : str
        Recorded in the zip's comment with a checksum of its directory, for :func:`is_made_by`.

    Raises
    ------
    ValueError
        If the blocks hold more or fewer clips than promised.
    """
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        with archive.open(zipfile.ZipInfo("wav_vals.npy"), "w", force_zip64=True) as member:
            header = {"descr": "<f4", "fortran_order": False, "shape": (clips, CLIP_SAMPLES)}
            np.lib.format.write_array_header_1_0(member, header)
            written = 0
            for block in blocks:
                member.write(np.ascontiguousarray(block, "<f4").data)
                written += len(block)
        if written != clips:
            raise ValueError(f"promised {clips} clips, wrote {written}")
        for name, text in (("label_vals", words), ("group_vals", groups)):
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w") as member:
                np.lib.format.write_array(member, np.array(list(text)).reshape(clips, 1), allow_pickle=False)
        if maker:
            archive.comment = _signature(archive, maker)


def is_made_by(path: Path, maker: str) -> bool:
    """Whether :func:`write_npz` wrote a file for this maker and its list of members is unchanged since.

    A file that is saved again or appended to is its owner's.
    """
    return maker_of(path) == maker


def maker_of(path: Path) -> str | None:
    """The maker that :func:`write_npz` wrote a file for; None if it did not, or if the list of members has changed."""
    try:
        with zipfile.ZipFile(path) as archive:
            maker = archive.comment.rpartition(b" ")[0].decode()
            return maker if archive.comment == _signature(archive, maker) else None
    except (OSError, ValueError, *UNREADABLE):
        return None


def _signature(archive: zipfile.ZipFile, maker: str) -> bytes:
    members = [(info.filename, info.file_size, info.CRC) for info in archive.infolist()]
    return f"{maker} {zlib.crc32(repr(members).encode()):08x}".encode()
