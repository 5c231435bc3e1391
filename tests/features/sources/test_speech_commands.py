import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

from features.errors import InputError
from features.sources.speech_commands import decode, fit, group_of, label_of, noise_windows, read_recordings

TONES = {  # file: seconds, frequency in Hz
    "yes/0a7c2a8d_nohash_0.wav": (1.0, 500),
    "marvin/0a7c2a8d_nohash_1.wav": (0.6, 700),
    "_unknown_/bed_11ffee00_nohash_0.wav.wav": (1.0, 900),
    "_silence_/7.wav": (1.0, 100),
    "_background_noise_/pink_noise.wav": (12.0, 300),
}


def wav(seconds: float, frequency_hz: float, rate_hz: int = 16000) -> bytes:
    time = np.arange(int(seconds * rate_hz)) / rate_hz
    stream = io.BytesIO()
    soundfile.write(stream, 0.5 * np.sin(2 * np.pi * frequency_hz * time), rate_hz, "PCM_16", format="WAV")
    return stream.getvalue()


def add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    archive.addfile(info, io.BytesIO(content))


@pytest.fixture(params=["archive", "archive with ./", "folder"])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The same recordings, packed and unpacked, among other files."""
    files = {name: wav(*tone) for name, tone in TONES.items()} | {"README.md": b"read me", "yes/notes.txt": b"x"}
    if request.param == "folder":
        for name, content in files.items():
            (tmp_path / "s" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "s" / name).write_bytes(content)
        return tmp_path / "s"
    with tarfile.open(tmp_path / "s.tar.gz", "w:gz") as archive:
        for name, content in files.items():
            add(archive, ("./" if "./" in request.param else "") + name, content)
    return tmp_path / "s.tar.gz"


def test_every_recording_is_read_labelled_and_grouped(source: Path) -> None:
    recordings = list(read_recordings(source))
    found = {(recording.word, recording.group) for recording in recordings}
    assert found == {
        ("yes", "0a7c2a8d"),
        ("unknown", "0a7c2a8d"),
        ("unknown", "11ffee00"),
        ("silence", "_silence_/7"),
        ("silence", "_background_noise_/pink_noise/0"),
        ("silence", "_background_noise_/pink_noise/1"),
    }
    # 12 s of noise: 19 half-overlapping seconds in the first ten, 3 in the other two
    assert sum(recording.group.startswith("_background") for recording in recordings) == 22
    for recording in recordings:
        assert recording.clip.shape == (8000,)
        assert recording.clip.dtype == np.float32


def test_resampling_keeps_tones_and_removes_what_8_khz_cannot_hold() -> None:
    time = np.arange(8000) / 8000
    kept = fit(decode("a.wav", wav(1.0, 500)))
    np.testing.assert_allclose(kept[500:-500], 0.5 * np.sin(2 * np.pi * 500 * time)[500:-500], atol=2e-3)
    aliased = fit(decode("a.wav", wav(1.0, 6000)))  # would stand at 2 kHz
    assert np.abs(aliased[500:-500]).max() < 1e-3


def test_short_is_filled_with_silence_and_long_is_cut() -> None:
    assert fit(np.ones(3, np.float32)).sum() == 3
    assert fit(np.ones(9000, np.float32)).shape == (8000,)


def test_windows_of_two_segments_share_no_sample() -> None:
    samples = np.arange(200_000, dtype=np.float32)
    held: dict[int, set[float]] = {}
    for window, segment in noise_windows(samples):
        held.setdefault(segment, set()).update(window.tolist())
    assert len(held) == 3
    assert not set.intersection(held[0], held[1]) | set.intersection(held[1], held[2])


@pytest.mark.parametrize(
    ("folder", "label"),
    [
        ("go", "go"),
        ("bed", "unknown"),
        ("_unknown_", "unknown"),
        ("_silence_", "silence"),
    ],
)
def test_labels(folder: str, label: str) -> None:
    assert label_of(folder) == label


def test_groups() -> None:
    assert group_of("go", "988e2f9a_nohash_0.wav") == group_of("_unknown_", "cat_988e2f9a_nohash_3.wav.wav")
    assert group_of("_silence_", "1.wav") != group_of("_silence_", "2.wav")


def test_paths_in_an_archive_are_not_trusted(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "s.tar.gz", "w:gz") as archive:
        add(archive, "../../yes/0a7c2a8d_nohash_0.wav", wav(1.0, 500))
        add(archive, "/etc/no/0b7c2a8d_nohash_0.wav", wav(1.0, 500))
        link = tarfile.TarInfo("go/0c7c2a8d_nohash_0.wav")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    before = sorted(tmp_path.rglob("*"))
    assert [recording.word for recording in read_recordings(tmp_path / "s.tar.gz")] == ["yes", "no"]
    assert sorted(tmp_path.rglob("*")) == before


def test_bad_sources_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        list(read_recordings(tmp_path / "none"))
    (tmp_path / "text.tar.gz").write_text("no archive at all")
    with pytest.raises(InputError, match="not a readable archive"):
        list(read_recordings(tmp_path / "text.tar.gz"))
    with tarfile.open(tmp_path / "s.tar.gz", "w:gz") as archive:
        for take in range(9):
            noise = np.random.default_rng(take).bytes(32000)
            add(archive, f"yes/0a7c2a8d_nohash_{take}.wav", wav(1.0, 500) + noise)
    cut = tmp_path / "cut.tar.gz"
    cut.write_bytes((tmp_path / "s.tar.gz").read_bytes()[:100_000])
    with pytest.raises(InputError, match="not a readable archive"):
        list(read_recordings(cut))
    for content, wrong in ((b"not a wav", "is not readable audio"), (wav(0, 0), "holds no sound")):
        with tarfile.open(tmp_path / "b.tar.gz", "w:gz") as archive:
            add(archive, "yes/0a7c2a8d_nohash_0.wav", content)
        with pytest.raises(InputError, match=rf"yes/0a7c2a8d_nohash_0.wav in .* {wrong}"):
            list(read_recordings(tmp_path / "b.tar.gz"))
