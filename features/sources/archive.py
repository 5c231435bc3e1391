"""Reading tar archives in a stream, to their very end, so that no damage passes for fewer or other files.

Two things make ``tarfile`` alone too lenient. Its own decompression (modes ``r|gz`` and the like) stops at the tar's
end mark and never compares gzip's checksum. And it takes a damaged or missing header for the end of the archive
(python/cpython#120740). Here Python's decompressors read to the end, and every header must be a header.
"""

import bz2
import gzip
import lzma
import tarfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from features.errors import InputError

READ_BYTES = 1 << 20
XZ_CHECK = 7
"""Byte of an xz stream whose lower half names its checksum, 0 for none; see the .xz file format, section 2.1.1.2."""
UNREADABLE = (tarfile.TarError, EOFError, lzma.LZMAError, zlib.error, ValueError)
"""What decompressors and ``tarfile`` raise for damage, besides an ``OSError`` without a number."""


class _StrictHeader(tarfile.TarInfo):
    """A header that ends the archive only if it is an end mark."""

    @classmethod
    def fromtarfile(cls, tarfile_: tarfile.TarFile) -> Self:
        try:
            return super().fromtarfile(tarfile_)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]  # a block of zeros
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(f"{error} at byte {tarfile_.offset:,}") from None


def read_archive(
    source: Path, wanted: Callable[[tarfile.TarInfo], bool], note: Callable[[str], None] = lambda line: None
) -> Iterator[tuple[str, bytes]]:
    """Read files of a tar archive one after the other; nothing is unpacked.

    Parameters
    ----------
    source : Path
        A ``.tar``, ``.tar.gz``, ``.tar.bz2`` or ``.tar.xz``, told apart by its first bytes.
    wanted : callable
        Asked of each regular file whether to read it.
    note : callable
        Told, in a sentence, if the archive carries no checksum of its contents.

    Yields
    ------
    name : str
        As the archive has it; not to be trusted as a path.
    content : bytes

    Raises
    ------
    InputError
        If the archive is damaged, ends before its end mark, or holds something after it. What was yielded is known to
        be right only when the last file was yielded and no error followed.
    """
    try:
        with ExitStack() as stack:
            stream, checked = _open(source, stack)
            if not checked:
                note(f"{source} carries no checksum, so damage to the sound in it cannot be found")
            archive = stack.enter_context(tarfile.open(fileobj=stream, mode="r|", tarinfo=_StrictHeader))
            for member in archive:
                archive.members = []  # type: ignore[attr-defined]  # a stream does not go back, but would remember all it has passed
                if member.isfile() and wanted(member):
                    content = archive.extractfile(member)
                    assert content is not None
                    yield member.name, content.read()
            _finish(archive)
    except (OSError, *UNREADABLE) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise InputError(
            f"{source} is not a readable archive ({error}); expected a .tar, .tar.gz, .tar.bz2 or .tar.xz, so download "
            "or pack it again"
        ) from None


def _open(source: Path, stack: ExitStack) -> tuple[Any, bool]:
    """Open a stream of the tar's bytes; and whether reading it to its end compares a checksum."""
    with source.open("rb") as file:
        start = file.read(XZ_CHECK + 1)
    if start.startswith(b"\x1f\x8b"):
        return stack.enter_context(gzip.open(source)), True
    if start.startswith(b"BZh"):
        return stack.enter_context(bz2.open(source)), True
    if start.startswith(b"\xfd7zXZ\x00"):
        return stack.enter_context(lzma.open(source, format=lzma.FORMAT_XZ)), bool(start[XZ_CHECK] & 0x0F)
    return stack.enter_context(source.open("rb")), False


def _finish(archive: tarfile.TarFile) -> None:
    """Read what follows the end mark's first block to the stream's end, where decompressors compare checksums.

    Raises
    ------
    tarfile.ReadError
        If the mark's second block is missing, or anything but zeros follows.
    """
    assert archive.fileobj is not None
    zeros = 0
    while block := archive.fileobj.read(READ_BYTES):
        if block.count(0) != len(block):
            raise tarfile.ReadError("data follows its end mark")
        zeros += len(block)
    if zeros < tarfile.BLOCKSIZE:
        raise tarfile.ReadError("it ends before its end mark")
