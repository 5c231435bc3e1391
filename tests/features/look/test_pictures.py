from pathlib import Path

import matplotlib.image
import msgspec
import numpy as np
import pytest
import soundfile

from features.look.pictures import DENSITY, blocks, draw_spectrograms, draw_waveforms, write_wav
from features.spectrogram import KINDS, FeatureSpec, transform
from features.store.writer import FeatureAxes

SPEC = FeatureSpec(kind="magnitude", n_fft=258, hop_length=64, window="hann")
AXES = FeatureAxes(*SPEC.axes(8000, 8000))


def tone(frequency_hz: float) -> np.ndarray:
    """A tone in the second half of a clip."""
    time_s = np.arange(8000) / 8000
    return np.where(time_s < 0.5, 0, 0.5 * np.sin(2 * np.pi * frequency_hz * time_s)).astype(np.float32)


def test_a_picture_shows_the_tone_where_it_is(tmp_path: Path) -> None:
    features = transform(tone(3000)[None], SPEC)
    draw_spectrograms(tmp_path / "a.png", features, AXES, "magnitude", ["yes, clip 0"])
    pixels = matplotlib.image.imread(tmp_path / "a.png")[..., :3].sum(axis=2)
    height, width = pixels.shape
    left, right = pixels[:, : width // 2], pixels[:, width // 2 : int(0.8 * width)]
    bright = np.flatnonzero(right.mean(axis=1) > left.mean(axis=1) + 0.5)
    assert len(bright) > 0
    assert 0.1 * height < bright.mean() < 0.45 * height  # 3000 of 4000 Hz lies in the upper part


def test_many_pictures_are_one_sheet(tmp_path: Path) -> None:
    features = transform(np.stack([tone(500 * number) for number in range(1, 6)]), SPEC)
    draw_spectrograms(tmp_path / "a.png", features, AXES, "magnitude", [str(number) for number in range(5)])
    draw_waveforms(tmp_path / "b.png", np.stack([tone(500)] * 4), 8000, list("abcd"))
    assert matplotlib.image.imread(tmp_path / "a.png").shape[1] > 1200
    assert matplotlib.image.imread(tmp_path / "b.png").ndim == 3


def test_sound_is_what_was_recorded(tmp_path: Path) -> None:
    wave = tone(1000)
    wave[0] = 3  # beyond full scale is cut
    write_wav(tmp_path / "a.wav", wave, 8000)
    heard, rate = soundfile.read(tmp_path / "a.wav", dtype="float32")
    assert rate == 8000
    np.testing.assert_allclose(heard[1:], wave[1:], atol=1 / 2**15)
    assert heard[0] > 0.999


def test_the_terminal_shows_it_in_so_many_columns() -> None:
    picture = blocks(transform(tone(3000)[None], SPEC)[0], AXES, "magnitude", columns=64)
    lines = picture.plain.split("\n")
    assert {len(line) for line in lines[:16]} == {9 + 64}
    assert lines[0].startswith(" 4000 Hz ")
    assert lines[16].startswith(f"{'':9}0 s")
    assert lines[16].endswith("1.00 s")
    assert len(lines[16]) == 9 + 64
    brightest = max(
        picture.spans, key=lambda span: sum(span.style.color.triplet) if hasattr(span.style, "color") else 0
    )
    row, column = divmod(brightest.start, 9 + 64 + 1)
    assert row in (3, 4)  # 3000 of 4000 Hz
    assert column > 9 + 30


def test_a_terminal_without_colours_shows_it_in_ascii() -> None:
    picture = blocks(transform(tone(3000)[None], SPEC)[0], AXES, "magnitude", columns=64, plain=True)
    lines = picture.plain.split("\n")
    assert picture.plain.isascii()
    assert {len(line) for line in lines[:16]} == {9 + 64}
    assert not [span for span in picture.spans if getattr(span.style, "color", None)]
    dense = [sum(DENSITY.index(character) for character in line[9:]) for line in lines[:16]]
    assert dense.index(max(dense)) in (3, 4)  # 3000 of 4000 Hz
    assert " " in lines[10][9:]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_drawn(kind: str, tmp_path: Path) -> None:
    """And a clip that never changes, too."""
    spec = msgspec.structs.replace(SPEC, kind=kind)
    axes = FeatureAxes(*spec.axes(8000, 8000))
    features = transform(np.stack([tone(1000), np.zeros(8000, np.float32)]), spec)
    draw_spectrograms(tmp_path / "a.png", features, axes, KINDS[kind].unit, ["tone", "silence"])
    assert (tmp_path / "a.png").stat().st_size > 10_000
    for clip in features:
        assert "Hz" in blocks(clip, axes, KINDS[kind].unit, columns=40).plain
