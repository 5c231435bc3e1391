"""Tar archives, read as a stream and to the last byte, so that damage is never mistaken for missing or other files.

``tarfile`` alone is too lenient in two ways. Its own decompression (modes ``r|gz`` and the like) stops at the tar's end
mark and never compares gzip's checksum. And it takes a damaged header for the end of the archive
(python/cpython#120740). Here Python's decompressors read to the end, and nothing but zeros may follow where ``tarfile``
stops.
"""

import bz2
import gzip
import lzma
import tarfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from features.errors import InputError

READ_BYTES = 1 << 20
XZ = b"\xfd7zXZ\x00"
XZ_CHECK = 7
"""Byte of an xz stream whose lower half names its checksum, 0 for none; see the .xz file format, section 2.1.1.2."""
OPENERS: dict[bytes, Callable[..., Any]] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, XZ: lzma.open}
"""First bytes of a compressed file: how to open it."""
UNREADABLE = (tarfile.TarError, EOFError, lzma.LZMAError, zlib.error, ValueError)
"""What decompressors and ``tarfile`` raise for damage, besides an ``OSError`` without a number."""


def read_archive(
    source: Path, wanted: Callable[[tarfile.TarInfo], bool], warn: Callable[[str], None] = lambda line: None
) -> Iterator[tuple[str, bytes]]:
    """Read files of a tar archive one after the other; nothing is unpacked.

    Parameters
    ----------
    source
        A ``.tar``, ``.tar.gz``, ``.tar.bz2`` or ``.tar.xz``, recognised by its first bytes.
    wanted
        Returns whether to read a regular file.
    warn
        Called with a sentence if the archive has no checksum of its contents.

    Yields
    ------
    name, content
        Do not trust the name as a path.

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
    try:
        with opener(source, "rb") as stream, tarfile.open(fileobj=stream, mode="r|") as archive:
            for member in archive:
                archive.members = []  # type: ignore[attr-defined]  # tarfile keeps every member it has passed
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


def _finish(archive: tarfile.TarFile) -> None:
    """Read to the end of the stream, where decompressors compare checksums; after the end mark, expect only zeros."""
    assert archive.fileobj is not None
    zeros = 0
    while block := archive.fileobj.read(READ_BYTES):
        if block.count(0) != len(block):
            raise tarfile.ReadError("it has a damaged header, or data after its end mark")
        zeros += len(block)
    if zeros < tarfile.BLOCKSIZE:
        raise tarfile.ReadError("it ends before its end mark")
