import json
import shutil
from contextlib import suppress
from pathlib import Path

import msgspec
import numpy as np
import pytest
import xarray
import zarr
from conftest import columns, contents

from features.corpus import WORDS, Corpus, label_dtype
from features.errors import InputError
from features.store.layout import StoreSpec
from features.store.reader import FeatureStore, WaveformStore
from features.store.writer import ClipColumns, FeatureAxes, StoreWriter, create_feature_store, create_waveform_store

AXES = FeatureAxes(np.arange(3) * 10.0, np.arange(4) * 0.1)


def layout(**changes: object) -> StoreSpec:
    return msgspec.convert(
        {"dtype": "float32", "chunk_clips": 2, "shard_clips": 4, "codec": "lz4", **changes}, StoreSpec
    )


def draft(path: Path, clips: int = 10, **changes: object) -> StoreWriter:
    spec = layout(**changes)
    return create_feature_store(
        path, AXES, spec, columns(clips), {"store": msgspec.to_builtins(spec), "words": ["yes"]}
    )


def values(clips: int = 10) -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 9, (clips, 3, 4)).astype(np.float32)


def create(path: Path, made: np.ndarray, **changes: object) -> FeatureStore:
    store = draft(path, len(made), **changes)
    for number, (start, stop) in enumerate(store.shards):
        store.write(number, made[start:stop])
    store.finalize()
    return FeatureStore.open(path)


@pytest.mark.parametrize("codec", ["none", "lz4", "zstd"])
@pytest.mark.parametrize("clips", [10, 8, 1])
def test_what_is_written_is_read(tmp_path: Path, codec: str, clips: int) -> None:
    made = values(clips)
    store = create(tmp_path / "a.zarr", made, codec=codec)
    np.testing.assert_array_equal(store.read(0, clips), made)
    np.testing.assert_array_equal(store.read(clips // 2, clips), made[clips // 2 :])
    checked = [pair for number in range(len(store.shards)) for pair in store.read_checked(number)]
    np.testing.assert_array_equal(np.concatenate([chunk for _, chunk in checked]), made)
    assert [start for start, _ in checked] == list(range(0, clips, 2))
    expected = columns(clips)
    np.testing.assert_array_equal(store.source_rows, expected.source_rows)
    np.testing.assert_array_equal(store.labels, expected.labels)
    np.testing.assert_array_equal(store.digests, expected.digests)
    np.testing.assert_array_equal(store.recordings, expected.recordings)
    assert (store.shape, store.layout, store.chunks) == ((3, 4), layout(codec=codec), -(-clips // 2))


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("codec", ["none", "lz4", "zstd"])
def test_each_chunk_can_be_read_alone(tmp_path: Path, codec: str, dtype: str) -> None:
    made = values(9)
    store = create(tmp_path / "a.zarr", made, codec=codec, dtype=dtype)
    got = np.full((store.chunks, 2, *store.shape), 7, dtype)
    for number in reversed(range(store.chunks)):
        store.read_chunk(number, got[number])
    clips = got.reshape(-1, *store.shape)
    np.testing.assert_array_equal(clips[:9], store.read(0, 9))
    assert np.isnan(clips[9:].astype(np.float32)).all()


@pytest.mark.parametrize("codec", ["none", "lz4"])
def test_no_chunk_of_a_damaged_or_swapped_shard_is_read(tmp_path: Path, codec: str) -> None:
    create(tmp_path / "a.zarr", values(), codec=codec)
    shards = sorted((tmp_path / "a.zarr/features").glob("c.*"))
    good = [shard.read_bytes() for shard in shards]
    out = np.empty((2, 3, 4), np.float32)
    for at in range(len(good[1])):
        shards[1].write_bytes(good[1][:at] + bytes([good[1][at] ^ 4]) + good[1][at + 1 :])
        store = FeatureStore.open(tmp_path / "a.zarr")
        read = 0
        for number in range(2, 4):
            with suppress(InputError):
                store.read_chunk(number, out)
                read += 1
                np.testing.assert_array_equal(out, values()[2 * number : 2 * number + 2])
        assert read < 2
    if codec == "none":
        shards[1].write_bytes(good[0])
        store = FeatureStore.open(tmp_path / "a.zarr")
        with pytest.raises(InputError, match="shard 1 of"):
            store.read_chunk(2, out)
    shards[1].write_bytes(good[1])
    store = FeatureStore.open(tmp_path / "a.zarr")
    shards[1].unlink()
    with pytest.raises(InputError, match="shard 1 of"):
        store.read_chunk(2, out)


def test_float16_halves_the_store(tmp_path: Path) -> None:
    made = values()
    sizes = {}
    for dtype in ("float32", "float16"):
        store = create(tmp_path / dtype, made, dtype=dtype, codec="none")
        sizes[dtype] = store.manifest.shards[0].size
        np.testing.assert_allclose(store.read(0, 10), made, rtol=1e-3)
    index_and_checksum = 2 * 16 + 4 + 2 * 4  # and of each of two chunks
    assert sizes["float16"] - index_and_checksum == (sizes["float32"] - index_and_checksum) / 2


def test_equal_input_gives_equal_bytes(tmp_path: Path) -> None:
    for name in ("a.zarr", "b.zarr"):
        create(tmp_path / name, values())
    assert contents(tmp_path / "a.zarr") == contents(tmp_path / "b.zarr")


def test_xarray_opens_it_with_labelled_axes(tmp_path: Path) -> None:
    made = values()
    create(tmp_path / "a.zarr", made)
    opened = xarray.open_zarr(tmp_path / "a.zarr")  # without a warning, which would fail this test
    assert opened["features"].dims == ("clip", "frequency", "time")
    assert opened["frequency"].attrs["units"] == "Hz"
    np.testing.assert_array_equal(opened["features"].sel(frequency=20).isel(clip=3), made[3, 2])
    np.testing.assert_array_equal(opened["source_row"], columns(10).source_rows)


@pytest.mark.parametrize("codec", ["none", "lz4"])
def test_every_reader_finds_a_flipped_bit(tmp_path: Path, codec: str) -> None:
    """Plain xarray and zarr, which know nothing of the manifest, raise or give the right numbers; and so do we."""
    made, path = values(), tmp_path / "a.zarr"
    create(path, made, codec=codec)
    files = [*path.glob("*/c.*"), *path.glob("*/c/*"), *path.glob("*/c/0/*")]
    files = sorted(file for file in files if file.is_file())
    assert len(files) == 3 + 6
    right = {name: values.load() for name, values in xarray.open_zarr(path).variables.items()}
    rng, raised = np.random.default_rng(0), 0
    for _ in range(300):
        file = files[rng.integers(len(files))]
        content = file.read_bytes()
        broken = bytearray(content)
        broken[rng.integers(len(broken))] ^= 1 << rng.integers(8)
        file.write_bytes(broken)
        name = file.relative_to(path).parts[0]
        try:
            np.testing.assert_array_equal(xarray.open_zarr(path).variables[name], right[name])
        except ValueError:
            raised += 1
        with pytest.raises(InputError):
            FeatureStore.open(path).read(0, 10)
        file.write_bytes(content)
    assert raised > 290


def test_what_is_missing_never_reads_as_zeros(tmp_path: Path) -> None:
    create(tmp_path / "a.zarr", values())
    for shard in (tmp_path / "a.zarr/features").glob("c.*"):
        shard.unlink()
    for array in ("label", "source_row"):
        shutil.rmtree(tmp_path / "a.zarr" / array / "c")
    group = zarr.open_group(tmp_path / "a.zarr", mode="r")
    assert np.isnan(group["features"][:]).all()
    assert (group["label"][:] == -1).all()
    assert (group["source_row"][:] == -1).all()


# what happens to a store                                              | what opening it says
DAMAGES = [
    (lambda store: (store / "features/c.1.0.0").unlink(), "features/c.1.0.0 of .* is missing or not what was written"),
    (lambda store: (store / "features/c.1.0.0").write_bytes(b"short"), "features/c.1.0.0 of"),
    (lambda store: (store / "label/c/0").write_bytes(bytes(10)), "label/c/0 of"),
    (lambda store: (store / "source_row/c/0").unlink(), "source_row/c/0 of"),
    (lambda store: edit(store / "zarr.json", "yes", "no!"), "zarr.json of"),
    (lambda store: edit(store / "manifest.json", "yes", "no!"), "manifest.json of .* is not what was written"),
    (lambda store: edit(store / "manifest.json", "{", ""), "manifest.json of .* cannot be read"),
    (lambda store: edit(store / "manifest.json", "\n ", "\n  "), "manifest.json of .* is not what was written"),
]


def edit(path: Path, old: str, new: str) -> None:
    path.write_text(path.read_text().replace(old, new, 1))


@pytest.mark.parametrize(("damage", "message"), DAMAGES)
def test_a_damaged_store_is_not_opened(tmp_path: Path, damage, message: str) -> None:
    create(tmp_path / "a.zarr", values())
    damage(tmp_path / "a.zarr")
    with pytest.raises(InputError, match=f"{message}.*features verify --repair"):
        FeatureStore.open(tmp_path / "a.zarr")


def test_a_flipped_byte_in_a_shard_is_named(tmp_path: Path) -> None:
    store = create(tmp_path / "a.zarr", values())
    shard = store.shard_path(2)
    content = bytearray(shard.read_bytes())
    content[3] ^= 1
    shard.write_bytes(content)
    assert len(list(store.read_checked(1))) == 2
    with pytest.raises(InputError, match=r"shard 2 of .*\(clips 8 to 9\) is not what was written"):
        next(store.read_checked(2))


def test_a_shard_that_is_gone_or_longer_is_found(tmp_path: Path) -> None:
    store = create(tmp_path / "a.zarr", values())
    shard = store.shard_path(1)
    content = shard.read_bytes()
    shard.write_bytes(content + b"\0")
    with pytest.raises(InputError, match=r"features/c.1.0.0 of .* is missing or not what was written"):
        FeatureStore.open(store.path)
    shard.unlink()
    for read in (lambda: store.check(1), lambda: next(store.read_checked(1)), lambda: store.read_chunk(2, values(2))):
        with pytest.raises(InputError, match=r"shard 1 of .* is not what was written"):
            read()


def test_reading_chunks_holds_no_file_open(tmp_path: Path) -> None:
    store = create(tmp_path / "a.zarr", values())
    store.read_chunk(0, values(2))
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(50):
        store.read_chunk(0, values(2))
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_no_store_and_another_store_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none.zarr does not exist; .* run dvc repro"):
        FeatureStore.open(tmp_path / "none.zarr")
    create(tmp_path / "a.zarr", values())
    with pytest.raises(InputError, match="holds no waveform"):
        WaveformStore.open(tmp_path / "a.zarr")


def test_the_manifest_is_for_people_too(tmp_path: Path) -> None:
    create(tmp_path / "a.zarr", values())
    manifest = json.loads((tmp_path / "a.zarr/manifest.json").read_text())
    assert set(manifest) == {"attributes", "digest", "files", "shards"}
    assert len(manifest["shards"]) == 3
    assert manifest["attributes"]["words"] == ["yes"]


@pytest.mark.parametrize("change", [{"chunk_clips": 3}, {"codec": "lilcom"}, {"dtype": "int8"}, {"chunk_clips": 0}])
def test_bad_settings_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError):
        layout(**change)


def test_labels_of_many_words_are_wider(tmp_path: Path) -> None:
    corpus = Corpus(words=tuple(f"word {number}" for number in range(300)))
    labels = np.array([0, 127, 128, 299], label_dtype(corpus.words))
    clips = ClipColumns(labels, np.arange(4), np.zeros((4, 16), np.uint8))
    store = create_waveform_store(tmp_path / "w.zarr", clips, "digest", {}, corpus)
    store.write(0, np.zeros((4, corpus.clip_samples), np.float32))
    store.finalize()
    assert WaveformStore.open(tmp_path / "w.zarr").labels.tolist() == [0, 127, 128, 299]
    assert zarr.open_group(tmp_path / "w.zarr")["label"].dtype == np.int16
    assert label_dtype(WORDS) == np.int8
