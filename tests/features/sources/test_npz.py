import io
import os
import zipfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from conftest import make_arrays
from hypothesis import given, settings
from hypothesis import strategies as st

from features.corpus import WORDS, Corpus, Recording
from features.errors import InputError
from features.sources.npz import Source, open_source
from features.sources.npz_columns import encode_labels
from features.sources.npz_writer import write_npz


def save(path: Path, *, compressed: bool = False, **arrays: np.ndarray) -> Path:
    (np.savez_compressed if compressed else np.savez)(path, **arrays)
    return path


def read_all(path: Path) -> tuple[np.ndarray, Source]:
    with open_source(path, path.with_suffix(".inflated"), Corpus()) as source:
        return np.concatenate([block for _, block in source.blocks()]), source


@pytest.mark.parametrize("compressed", [False, True])
def test_reads_rows_and_blocks_as_numpy_would(tmp_path: Path, arrays: dict[str, np.ndarray], compressed: bool) -> None:
    path = save(tmp_path / "a.npz", compressed=compressed, **arrays)
    rows = np.array([119, 0, 7, 7])
    with open_source(path, tmp_path / "inflated", Corpus()) as source:
        np.testing.assert_array_equal(source.read(rows), arrays["wav_vals"][rows])
        assert source.groups is not None
        assert source.groups.tolist() == arrays["group_vals"][:, 0].tolist()
        assert [WORDS[label] for label in source.labels] == arrays["label_vals"][:, 0].tolist()
    everything, source = read_all(path)
    np.testing.assert_array_equal(everything, arrays["wav_vals"])
    assert source.warnings == []


@pytest.mark.parametrize("compressed", [False, True])
def test_only_compressed_samples_are_copied(tmp_path: Path, arrays: dict[str, np.ndarray], compressed: bool) -> None:
    path = save(tmp_path / "a.npz", compressed=compressed, **arrays)
    with open_source(path, tmp_path / "inflated", Corpus()):
        assert (tmp_path / "inflated").exists() is compressed


def test_a_file_that_is_cut_short_while_it_is_read_is_refused(tmp_path: Path, arrays: dict[str, np.ndarray]) -> None:
    path = save(tmp_path / "a.npz", **arrays)
    with open_source(path, tmp_path / "inflated", Corpus()) as source:
        os.truncate(path, 50 * 32000)
        assert source.read(np.array([3])).shape == (1, 8000)
        for read in (lambda: source.read(np.array([100])), lambda: list(source.blocks())):
            with pytest.raises(InputError, match="changed while it was being split"):
                read()


def test_text_may_be_flat_or_utf_8(tmp_path: Path, arrays: dict[str, np.ndarray]) -> None:
    flat = arrays["label_vals"][:, 0].astype("S")
    path = save(tmp_path / "a.npz", wav_vals=arrays["wav_vals"], label_vals=flat)
    assert read_all(path)[1].groups is None
    names = np.array(["Jürgen".encode()] * len(flat))
    _, source = read_all(save(tmp_path / "a.npz", wav_vals=arrays["wav_vals"], label_vals=flat, group_vals=names))
    assert source.groups is not None
    assert set(source.groups) == {"Jürgen"}
    assert [WORDS[label] for label in source.labels] == arrays["label_vals"][:, 0].tolist()


def test_int16_is_scaled_with_a_warning(tmp_path: Path) -> None:
    made = make_arrays(1)
    made["wav_vals"] = np.full((12, Corpus().clip_samples), -32768, np.int16)
    everything, source = read_all(save(tmp_path / "a.npz", **made))
    assert everything.dtype == np.float32
    assert (everything == -1).all()
    assert "int16" in source.warnings[0]


def test_float64_in_range_is_rounded_with_a_warning(tmp_path: Path) -> None:
    made = make_arrays(1)
    _, source = read_all(save(tmp_path / "a.npz", **{**made, "wav_vals": made["wav_vals"].astype(np.float64)}))
    assert "float64" in source.warnings[0]


def wave(**changes: object) -> dict[str, np.ndarray]:
    made = make_arrays(1)
    made.update({name: value for name, value in changes.items() if isinstance(value, np.ndarray)})
    return {name: array for name, array in made.items() if changes.get(name, ...) is not None}


# what is in the file                                          | what the sentence must name
BAD_ARRAYS = [
    (wave(wav_vals=None), "no array wav_vals; it holds label_vals"),
    (wave(label_vals=None), "no array label_vals"),
    (wave(wav_vals=np.zeros((12, 16000), np.float32)), r"shape \(12, 16000\); expected \(clips, 8000\)"),
    (wave(wav_vals=np.zeros(8000, np.float32)), r"shape \(8000,\)"),
    (wave(wav_vals=np.zeros((0, 8000), np.float32)), r"shape \(0, 8000\); expected \(clips, 8000\), at least one"),
    (wave(wav_vals=np.zeros((11, 8000), np.float32)), r"differ in length: wav_vals has 11 clips.*\(12, 1\)"),
    (wave(group_vals=np.array(["ann", "bob"])), "differ in length"),
    (wave(wav_vals=np.zeros((12, 8000), np.int32)), "int32, whose scale is ambiguous"),
    (wave(wav_vals=np.zeros((12, 8000), np.uint8)), "uint8, whose scale is ambiguous"),
    (wave(wav_vals=np.asfortranarray(np.zeros((12, 8000), np.float32))), "Fortran"),
    (wave(label_vals=np.arange(12)), "int64; expected text"),
    (wave(wav_vals=np.array([None] * 12, object)), "wav_vals .* pickled"),
    (wave(label_vals=np.array(["yes"] * 12, object)), "label_vals .* pickled"),
]


@pytest.mark.parametrize(("made", "sentence"), BAD_ARRAYS)
def test_bad_arrays_are_refused(tmp_path: Path, made: dict[str, np.ndarray], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        read_all(save(tmp_path / "a.npz", **made))


def test_a_pickle_is_never_run(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return open, (str(tmp_path / "sprung"), "w")  # type: ignore[return-value]

    path = save(tmp_path / "a.npz", **wave(label_vals=np.array([Trap()] * 12, object)))
    with pytest.raises(InputError):
        read_all(path)
    assert not (tmp_path / "sprung").exists()


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        read_all(tmp_path / "none.npz")


@pytest.mark.parametrize("content", [b"", b"RIFF" + bytes(100)])
def test_not_a_zip(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.npz"
    path.write_bytes(content)
    with pytest.raises(InputError, match="not a zip"):
        read_all(path)


def test_an_npy_is_not_an_npz(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros(3))
    with pytest.raises(InputError, match="not a zip"):
        read_all(tmp_path / "a.npy")


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("kept", [0.01, 0.5, 0.999])
def test_truncated(tmp_path: Path, arrays: dict[str, np.ndarray], compressed: bool, kept: float) -> None:
    path = save(tmp_path / "a.npz", compressed=compressed, **arrays)
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(InputError, match="damaged"):
        read_all(path)


@pytest.mark.parametrize("compressed", [False, True])
def test_a_flipped_sample_is_found(tmp_path: Path, arrays: dict[str, np.ndarray], compressed: bool) -> None:
    path = save(tmp_path / "a.npz", compressed=compressed, **arrays)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match="damaged"):
        read_all(path)


@pytest.mark.parametrize("compressed", [False, True])
def test_any_flipped_bit_of_what_describes_the_arrays_gets_a_sentence(tmp_path: Path, compressed: bool) -> None:
    """Headers are read as Python and zips have many features: every error of their readers becomes a sentence."""
    path = save(tmp_path / "a.npz", compressed=compressed, **make_arrays(1))
    good = path.read_bytes()
    places = [*range(200), *range(len(good) - 400, len(good))]
    for number, place in enumerate(places):
        content = bytearray(good)
        content[place] ^= 1 << (number % 8)
        path.write_bytes(content)
        with suppress(InputError):
            read_all(path)


def test_a_member_that_is_not_an_array(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("wav_vals.npy", b"hello")
    with pytest.raises(InputError, match="damaged"):
        read_all(tmp_path / "a.npz")


def test_a_member_shorter_than_its_header_promises(tmp_path: Path) -> None:
    stream = io.BytesIO()
    np.save(stream, np.zeros((12, Corpus().clip_samples), np.float32))
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("wav_vals.npy", stream.getvalue()[:-1])
    with pytest.raises(InputError, match="damaged"):
        read_all(tmp_path / "a.npz")


def test_unknown_words_are_named_counted_and_placed() -> None:
    words = np.array(["yes", "maybe", "no", "maybe", "Yes"])
    with pytest.raises(
        InputError, match=r"'Yes', perhaps 'yes' in 1 clips \(rows 4\), 'maybe' in 2 clips \(rows 1, 3\)"
    ):
        encode_labels(Path("a.npz"), words, Corpus())


@settings(max_examples=20, deadline=None)
@given(clips=st.integers(1, 20), seed=st.integers(0, 9))
def test_write_and_read_back(tmp_path_factory: pytest.TempPathFactory, clips: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    waves = rng.uniform(-1, 1, (clips, Corpus().clip_samples)).astype(np.float32)
    words = rng.choice(WORDS, clips)
    path = tmp_path_factory.mktemp("npz") / "a.npz"
    write_npz(path, clips, map(Recording, waves, words, words[::-1]), Corpus())
    everything, source = read_all(path)
    np.testing.assert_array_equal(everything, waves)
    assert source.groups is not None
    assert source.groups.tolist() == words[::-1].tolist()
    with np.load(path, allow_pickle=False) as loaded:  # any reader can
        np.testing.assert_array_equal(loaded["wav_vals"], everything)
        assert loaded["label_vals"].shape == (clips, 1)
    assert [WORDS[label] for label in source.labels] == words.tolist()


def test_writing_fewer_clips_than_promised_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="promised 2"):
        write_npz(
            tmp_path / "a.npz", 2, [Recording(np.zeros(Corpus().clip_samples, np.float32), "yes", "ann")], Corpus()
        )
