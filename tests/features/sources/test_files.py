"""Damaged archives are refused; only a plain tar, which has no checksum, may give other sounds, after a warning."""

import bz2
import gzip
import io
import lzma
import random
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from features.errors import InputError
from features.sources.files import read_archive, read_files

CLIPS = 12
PACK: dict[str, Callable[[bytes], bytes]] = {
    "tar": bytes,
    "tar.gz": lambda tar: gzip.compress(tar, mtime=0),
    "tar.bz2": bz2.compress,
    "tar.xz": lzma.compress,
}


def pack(clips: int = CLIPS) -> bytes:
    """A tar of short noises in Speech Commands' layout, and of text files."""
    rng = np.random.default_rng(0)
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for clip in range(clips):
            sound = io.BytesIO()
            soundfile.write(sound, rng.uniform(-0.5, 0.5, 1600), 16000, "PCM_16", format="WAV")
            for name, content in ((f"yes/{clip:08x}_nohash_0.wav", sound.getvalue()), (f"yes/{clip}.txt", b"read me")):
                info = tarfile.TarInfo(name)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()


TAR = pack()


def headers() -> list[int]:
    with tarfile.open(fileobj=io.BytesIO(TAR)) as archive:
        return [member.offset for member in archive.getmembers()]


def sounds(path: Path) -> tuple[list[tuple[str, bytes | None]], list[str]]:
    """Every recording of an archive, and the warnings."""
    warnings: list[str] = []
    files = read_files(path, lambda name: "" if name.endswith(".wav") else "is text", warnings.append)
    return [(file.path, file.content) for file in files if not file.why], warnings


def flip(content: bytes, rng: random.Random) -> bytes:
    hurt = bytearray(content)
    hurt[rng.randrange(len(hurt))] ^= 1 << rng.randrange(8)
    return bytes(hurt)


def zero_a_block(content: bytes, rng: random.Random) -> bytes:
    at = 512 * rng.randrange(-(-len(content) // 512))
    block = content[at : at + 512]
    return content[:at] + bytes(len(block)) + content[at + 512 :]


def cut(content: bytes, rng: random.Random) -> bytes:
    return content[: rng.randrange(len(content))]


def cut_at_a_block(content: bytes, rng: random.Random) -> bytes:
    return content[: 512 * rng.randrange(-(-len(content) // 512))]


DAMAGES = (flip, zero_a_block, cut, cut_at_a_block)


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("form", PACK)
def test_damage_is_found(tmp_path: Path, form: str, damage: Callable[[bytes, random.Random], bytes]) -> None:
    """25 of each kind. Only a plain tar may give other sounds, after a warning that it has no checksum."""
    whole, path, rng = PACK[form](TAR), tmp_path / f"s.{form}", random.Random(f"{form} {damage.__name__}")
    path.write_bytes(whole)
    right, warnings = sounds(path)
    assert len(right) == CLIPS
    assert bool(warnings) == (form == "tar")
    refused = 0
    for _ in range(25):
        path.write_bytes(damage(whole, rng))
        try:
            found, warnings = sounds(path)
        except InputError:
            refused += 1
            continue
        assert len(found) == CLIPS, "clips are missing without an error"
        if found != right:
            assert form == "tar", "sounds differ without an error"
            assert warnings == [f"{path} carries no checksum, so damage to the sound in it cannot be found"]
    assert refused >= (3 if form == "tar" and damage is flip else 5 if form == "tar" else 20)


@pytest.mark.parametrize("form", PACK)
@pytest.mark.parametrize("number", [0, 4, 2 * CLIPS - 1])
def test_a_damaged_or_missing_header_is_not_the_end(tmp_path: Path, form: str, number: int) -> None:
    at = headers()[number]
    hurt = bytearray(TAR)
    hurt[at + 150] ^= 1
    zeroed = TAR[:at] + bytes(512) + TAR[at + 512 :]
    # The first header counts too: an archive that is cut or zeroed there must not pass for an empty one.
    for content in (bytes(hurt), zeroed, TAR[:at], TAR[: at + 200], TAR[: at + 512]):
        path = tmp_path / f"s.{form}"
        path.write_bytes(PACK[form](content))
        with pytest.raises(InputError, match="is not a readable archive"):
            sounds(path)


def test_only_another_archive_may_follow_the_end_mark(tmp_path: Path) -> None:
    path = tmp_path / "s.tar"
    end = len(TAR.rstrip(b"\0"))
    end += -end % 512
    for content, copies in (
        (TAR[: end + 1024], 1),
        (TAR[:end], 0),
        (TAR + b"x", 0),
        (TAR + b"x" * 512, 0),
        (TAR + TAR, 2),
    ):
        path.write_bytes(content)
        if copies:
            assert len(sounds(path)[0]) == copies * CLIPS
        else:
            with pytest.raises(InputError, match="is not a readable archive"):
                sounds(path)


def test_archives_of_several_streams_are_whole(tmp_path: Path) -> None:
    half = len(TAR) // 2
    for form in ("tar.gz", "tar.bz2", "tar.xz"):
        path = tmp_path / f"s.{form}"
        path.write_bytes(PACK[form](TAR[:half]) + PACK[form](TAR[half:]))
        assert len(sounds(path)[0]) == CLIPS
        path.write_bytes(PACK[form](TAR) + PACK[form](TAR))
        assert len(sounds(path)[0]) == 2 * CLIPS


def test_members_that_are_not_read_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "s.tar.gz").write_bytes(PACK["tar.gz"](TAR))
    found = read_archive(tmp_path / "s.tar.gz")
    texts = [(member.name, read()) for member, read in found if member.name.endswith(".txt")]
    assert texts == [(f"yes/{clip}.txt", b"read me") for clip in range(CLIPS)]


def test_an_xz_without_checksum_is_warned_of(tmp_path: Path) -> None:
    path = tmp_path / "s.tar.xz"
    path.write_bytes(lzma.compress(TAR, check=lzma.CHECK_NONE))
    assert sounds(path)[1] == [f"{path} carries no checksum, so damage to the sound in it cannot be found"]
    path.write_bytes(lzma.compress(TAR))
    assert sounds(path)[1] == []
