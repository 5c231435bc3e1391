"""Writing an npz of clips as they come, and recognising a file that this module wrote."""

import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from features.corpus import CLIP_SAMPLES


def write_npz(
    path: Path,
    clips: int,
    blocks: Iterable[NDArray[np.float32]],
    words: Iterable[str],
    groups: Iterable[str],
    *,
    maker: str = "",
) -> None:
    """Write an npz of clips; only one block is in memory at a time.

    Members are stored, not compressed, so that clips can be read where they lie. Equal input gives equal bytes.

    Parameters
    ----------
    path : Path
        File to write.
    clips : int
        How many clips the blocks hold in all.
    blocks : iterable of float32 arrays, shape (any, 8000)
        Samples in [-1, 1].
    words, groups : iterables of str
        One a clip; read only after the last block.
    maker : str
        Recorded in the zip's comment with a checksum of its directory, for :func:`maker_of`.

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


def maker_of(path: Path) -> str | None:
    """The maker that :func:`write_npz` wrote a file for; None if another program wrote it, or has changed it since."""
    try:
        with zipfile.ZipFile(path) as archive:
            maker = archive.comment.rpartition(b" ")[0].decode()
            return maker if archive.comment == _signature(archive, maker) else None
    except (OSError, ValueError, zipfile.BadZipFile):
        return None


def _signature(archive: zipfile.ZipFile, maker: str) -> bytes:
    members = [(info.filename, info.file_size, info.CRC) for info in archive.infolist()]
    return f"{maker} {zlib.crc32(repr(members).encode()):08x}".encode()
