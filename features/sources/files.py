"""Files of a folder or archive, one after the other. Nothing is unpacked; no path inside an archive is opened.

Tar archives are read as a stream and to the last byte, so that damage is never mistaken for missing or other files.
``tarfile`` alone is too lenient in two ways. Its own decompression (modes ``r|gz`` and the like) stops at the tar's end
mark and never compares gzip's checksum. And it takes a damaged header for the end of the archive
(python/cpython#120740). Here Python's decompressors read to the end, and a damaged header is an error.
"""

import bz2
import gzip
import lzma
import os
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self

from features.errors import InputError

XZ = b"\xfd7zXZ\x00"
XZ_CHECK = 7
"""Byte of an xz stream whose lower half names its checksum, 0 for none; see the .xz file format, section 2.1.1.2."""
OPENERS: dict[bytes, Callable[..., Any]] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, XZ: lzma.open}
"""First bytes of a compressed file: how to open it."""
UNREADABLE = (tarfile.TarError, EOFError, lzma.LZMAError, zlib.error, ValueError)
"""What decompressors and ``tarfile`` raise for damage, besides an ``OSError`` without a number."""
LARGEST_FILE_BYTES = 256 << 20
"""Larger files are not read: three quarters of an hour at 44.1 kHz and 16 bits in stereo is longer than this."""
SYSTEM_FILES = {".ds_store", "thumbs.db", "desktop.ini"}
"""What macOS and Windows leave in folders, beside macOS's AppleDouble files, ``._<name>``."""
UTF8_FLAG = 0x800
"""Bit of a zip member whose name is UTF-8; see PKWARE's APPNOTE, appendix D."""


@dataclass(frozen=True)
class File:
    """One file that was found."""

    path: str
    """Inside the folder or archive; do not trust it."""
    content: bytes | None = None
    """None if it was not read, or is yet to be."""
    on_disk: str = ""
    """Where to read it, if it was not read yet."""
    same_as: str = ""
    """Path of an earlier file that this is a hard link to."""
    why: str = ""
    """Why it was not read."""
    unusable: bool = False
    """Whether it would have been read but for a fault of its own."""


Wanted = Callable[[str], str]
"""Told a path; returns why not to read the file, or an empty text."""


def read_files(source: Path, wanted: Wanted, warn: Callable[[str], None] = lambda line: None) -> Iterator[File]:
    """Find every file of a folder, a zip or a tar archive, and read those of archives that are wanted.

    A folder is read in the order of names, links to files and folders followed; an archive in its own order.

    Parameters
    ----------
    source : Path
        A folder; or a ``.zip``, ``.tar``, ``.tar.gz``, ``.tar.bz2`` or ``.tar.xz``, recognised by its first bytes.
    wanted : callable
    warn : callable
        Called with a sentence if the archive has no checksum of its contents.

    Raises
    ------
    InputError
        If there is no such folder or archive, or it is damaged. Damage may show only after the last file was yielded.
    """
    if source.is_dir():
        yield from _folder(source, wanted)
    elif not source.is_file():
        raise InputError(f"{source} does not exist; expected a folder of recordings, a .zip or a .tar.gz")
    elif zipfile.is_zipfile(source):
        yield from _zip(source, wanted)
    else:
        yield from _tar(source, wanted, warn)


def is_system_file(path: str) -> bool:
    """Whether an operating system left a file there.

    Examples
    --------
    >>> is_system_file("yes/._a.wav"), is_system_file("__MACOSX/yes/a.wav"), is_system_file("yes/a.wav")
    (True, True, False)
    """
    name = path.rpartition("/")[2]
    return name.startswith("._") or name.lower() in SYSTEM_FILES or "/__MACOSX/" in f"/{path}"


def _folder(folder: Path, wanted: Wanted) -> Iterator[File]:
    seen: set[tuple[int, int]] = set()  # folders, because links may lead in a circle

    def fail(error: OSError) -> None:
        raise error

    for at, folders, names in os.walk(folder, onerror=fail, followlinks=True):
        status = Path(at).stat()
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders.sort()
        inside = at[len(str(folder)) :].strip("/")
        for name in sorted(names):
            yield _file_in(f"{at}/{name}", f"{inside}/{name}" if inside else name, wanted)


def _file_in(file: str, path: str, wanted: Wanted) -> File:
    why = wanted(path)
    if why:
        return File(path, why=why)
    try:
        status = Path(file).stat()
    except FileNotFoundError:
        return File(path, why="is a link that leads nowhere")
    except OSError as error:
        return File(path, why=f"cannot be read ({error.strerror})", unusable=True)
    if not stat.S_ISREG(status.st_mode):
        return File(path, why="is not a regular file")
    why = _too_large(status.st_size)
    return File(path, why=why, unusable=bool(why), on_disk="" if why else file)


def load(file: File) -> bytes | None:
    """Content of a file that was found; None if it is not to be read.

    Raises
    ------
    OSError
        If it cannot be read.
    """
    return Path(file.on_disk).read_bytes() if file.on_disk else file.content


def _too_large(size: int) -> str:
    return f"has {size:,} bytes; at most {LARGEST_FILE_BYTES:,} are read" if size > LARGEST_FILE_BYTES else ""


def _zip(source: Path, wanted: Wanted) -> Iterator[File]:
    try:
        with zipfile.ZipFile(source) as archive:
            for member in archive.infolist():
                path = _zip_name(member)
                if not member.is_dir():
                    why, fault = wanted(path), _fault(member)
                    if why or fault:
                        yield File(path, why=why or fault, unusable=not why)
                    else:
                        yield File(path, archive.read(member))
    except (zipfile.BadZipFile, *UNREADABLE, NotImplementedError, RuntimeError) as error:
        raise InputError(f"{source} is not a readable zip ({error}); download or pack it again") from None


def _fault(member: zipfile.ZipInfo) -> str:
    if member.flag_bits & 1:
        return "is encrypted"
    if stat.S_ISLNK(member.external_attr >> 16):
        return "is a link"
    return _too_large(member.file_size)


def _zip_name(member: zipfile.ZipInfo) -> str:
    """A member's name; without the flag for UTF-8 it is UTF-8 all the same, or the code page of a Korean Windows."""
    if not member.flag_bits & UTF8_FLAG:
        for encoding in ("utf-8", "cp949"):
            try:
                return member.filename.encode("cp437").decode(encoding)
            except UnicodeError:
                continue
    return member.filename


def _tar(source: Path, wanted: Wanted, warn: Callable[[str], None]) -> Iterator[File]:
    for member, read in read_archive(source, warn):
        if member.isdir():
            continue
        why = wanted(member.name)
        if not why and not (member.isreg() or member.islnk()):
            why = "is a link" if member.issym() else "is not a regular file"
        fault = _too_large(member.size)
        if why or fault:
            yield File(member.name, why=why or fault, unusable=not why)
        elif member.islnk():
            yield File(member.name, same_as=member.linkname)
        else:
            yield File(member.name, read())


class _StrictHeader(tarfile.TarInfo):
    """A header that is read, or an error; damaged headers are not skipped."""

    @classmethod
    def fromtarfile(cls, tarfile_: tarfile.TarFile) -> Self:
        try:
            member = super().fromtarfile(tarfile_)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]  # a block of zeros
            tarfile_.at_end_mark = True  # type: ignore[attr-defined]
            raise
        except tarfile.EmptyHeaderError:  # type: ignore[attr-defined]  # the end of the file
            if not getattr(tarfile_, "at_end_mark", False):
                raise tarfile.ReadError("it ends before its end mark") from None
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(f"{error} at byte {tarfile_.offset:,}") from None
        tarfile_.at_end_mark = False  # type: ignore[attr-defined]
        return member


def read_archive(
    source: Path, warn: Callable[[str], None] = lambda line: None
) -> Iterator[tuple[tarfile.TarInfo, Callable[[], bytes]]]:
    """Go through a tar archive, member by member; nothing is unpacked. Archives that were joined are read as one.

    Parameters
    ----------
    source
        A ``.tar``, ``.tar.gz``, ``.tar.bz2`` or ``.tar.xz``, recognised by its first bytes.
    warn
        Called with a sentence if the archive has no checksum of its contents.

    Yields
    ------
    member
        Do not trust its name as a path.
    read
        Gives the content of a regular file; call it before the next member.

    Raises
    ------
    InputError
        If the archive is damaged. That may show only after the last file was yielded.
    """
    with source.open("rb") as file:
        start = file.read(XZ_CHECK + 1)
    opener = next((opener for magic, opener in OPENERS.items() if start.startswith(magic)), open)
    if opener is open or (start.startswith(XZ) and not start[XZ_CHECK] & 0x0F):
        warn(f"{source} carries no checksum, so damage to the sound in it cannot be found")
    with (
        _damage_as_input_error(source),
        opener(source, "rb") as stream,
        tarfile.open(fileobj=stream, mode="r|", tarinfo=_StrictHeader, ignore_zeros=True) as archive,
    ):
        for member in archive:
            archive.members = []  # type: ignore[attr-defined]  # tarfile keeps every member it has passed
            yield member, partial(_content, source, archive, member)


@contextmanager
def _damage_as_input_error(source: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, *UNREADABLE) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise InputError(
            f"{source} is not a readable archive ({error}); expected a .tar, .tar.gz, .tar.bz2, .tar.xz or .zip, so "
            "download or pack it again"
        ) from None


def _content(source: Path, archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    with _damage_as_input_error(source):
        file = archive.extractfile(member)
        assert file is not None
        return file.read()
