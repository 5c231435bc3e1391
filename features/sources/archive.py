"""Tar archives, read as a stream and to the last byte, so that damage is never mistaken for missing or other files.

``tarfile`` alone is too lenient in two ways. Its own decompression (modes ``r|gz`` and the like) stops at the tar's end
mark and never compares gzip's checksum. And it takes a damaged header for the end of the archive
(python/cpython#120740). Here Python's decompressors read to the end, and a damaged header is an error.
"""

import bz2
import gzip
import lzma
import tarfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
