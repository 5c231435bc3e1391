"""Writing recordings to an npz in the schema of the reference file."""

import zipfile
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from features.corpus import Corpus, Recording


def write_npz(
    path: Path,
    clips: int,
    recordings: Iterable[Recording],
    corpus: Corpus,
    *,
    maker: str = "",
    advance: Callable[[int], None] = lambda clips: None,
) -> None:
    """Write an npz; only one clip is in memory at a time. Equal input gives equal bytes.

    Members are stored, not compressed, so that clips can be read where they lie. Groups, sets and
    recordings are left out if no clip has one.

    Parameters
    ----------
    path
        File to write.
    clips : int
        How many recordings there are; the samples' header, which comes first, says so.
    maker : str
        Recorded in the zip's comment with a checksum of its directory, for :func:`maker_of`.
    advance : callable
        Told 1 after each clip.

    Raises
    ------
    ValueError
        If there are more or fewer recordings.
    """
    words, groups, sets, files = [], [], [], []
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        with archive.open(zipfile.ZipInfo("wav_vals.npy"), "w", force_zip64=True) as member:
            header = {"descr": "<f4", "fortran_order": False, "shape": (clips, corpus.clip_samples)}
            np.lib.format.write_array_header_1_0(member, header)
            for recording in recordings:
                member.write(np.ascontiguousarray(recording.clip, "<f4").data)
                words.append(recording.word)
                groups.append(recording.group)
                sets.append(recording.set)
                files.append(recording.recording)
                advance(1)
        if len(words) != clips:
            raise ValueError(f"promised {clips} clips, wrote {len(words)}")
        columns = {"label_vals": words, "group_vals": groups, "set_vals": sets, "recording_vals": files}
        arrays = {name: np.array(text).reshape(clips, 1) for name, text in columns.items() if any(text)}
        for name, array in {**arrays, "sample_rate": np.array(corpus.sample_rate_hz)}.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w") as member:
                np.lib.format.write_array(member, array, allow_pickle=False)
        if maker:
            archive.comment = _signature(archive, maker)


def maker_of(path: Path) -> str:
    """The maker that :func:`write_npz` wrote a file for; empty if another program wrote it, or has changed it since."""
    try:
        with zipfile.ZipFile(path) as archive:
            maker = archive.comment.rpartition(b" ")[0].decode()
            return maker if archive.comment == _signature(archive, maker) else ""
    except (OSError, ValueError, zipfile.BadZipFile):
        return ""


def _signature(archive: zipfile.ZipFile, maker: str) -> bytes:
    members = [(info.filename, info.file_size, info.CRC) for info in archive.infolist()]
    return f"{maker} {zlib.crc32(repr(members).encode()):08x}".encode()
