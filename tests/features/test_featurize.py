import shutil
import subprocess
import sys
import time
from pathlib import Path

import librosa
import msgspec
import numpy as np
import pytest
from conftest import contents, write_waveforms

from features.corpus import Corpus
from features.errors import InputError
from features.featurize import featurize, waveform_pieces
from features.spectrogram import FeatureSpec
from features.store.cache import ShardCache
from features.store.layout import StoreSpec
from features.store.publish import publish
from features.store.reader import FeatureStore, WaveformStore

SPEC = FeatureSpec(kind="magnitude", n_fft=258, hop_length=64, window="hann")
LAYOUT = StoreSpec(dtype="float32", chunk_clips=8, shard_clips=32, codec="lz4")
CLIPS = 530
SHARDS = 17


@pytest.fixture(scope="module")
def waveforms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of 530 clips: two whole shards of waveforms and a part of one."""
    return write_waveforms(tmp_path_factory.mktemp("waveforms") / "train.zarr", CLIPS)


@pytest.fixture
def cache(tmp_path: Path) -> ShardCache:
    return ShardCache(tmp_path / "cache")


def computed(
    waveforms: Path, target: Path, cache: ShardCache, spec: FeatureSpec = SPEC, layout: StoreSpec = LAYOUT
) -> list[int]:
    """Featurize; which shards were computed rather than taken from the cache."""
    outcomes = featurize(waveforms, target, spec, layout, cache, workers=2)
    return [outcome.number for outcome in outcomes if not outcome.reused]


def test_every_clip_has_its_own_features(waveforms: Path, tmp_path: Path, cache: ShardCache) -> None:
    told: list[int] = []
    outcomes = featurize(waveforms, tmp_path / "f.zarr", SPEC, LAYOUT, cache, workers=2, advance=told.append)
    assert sum(outcome.clips for outcome in outcomes) == CLIPS == sum(told)
    source, features = WaveformStore.open(waveforms), FeatureStore.open(tmp_path / "f.zarr")
    for name in ("labels", "source_rows", "digests"):
        np.testing.assert_array_equal(getattr(features, name), getattr(source, name))
    assert features.attributes["source_digest"] == source.attributes["digest"]
    for clip in (0, 31, 32, 511, 512, 529):
        expected = np.abs(librosa.stft(source.read(clip, clip + 1)[0], n_fft=258))
        actual = features.read(clip, clip + 1)[0]
        np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-5 * expected.max())


def test_the_number_of_workers_changes_no_byte(waveforms: Path, tmp_path: Path) -> None:
    for workers in (1, 3):
        cache = ShardCache(tmp_path / f"cache{workers}")
        featurize(waveforms, tmp_path / str(workers), SPEC, LAYOUT, cache, workers=workers)
    assert contents(tmp_path / "1") == contents(tmp_path / "3")


@pytest.mark.parametrize(("start", "stop"), [(0, 1), (250, 260), (256, 512), (100, 530), (529, 530)])
def test_any_range_of_waveforms_is_read(waveforms: Path, start: int, stop: int) -> None:
    store = WaveformStore.open(waveforms)
    pieces = list(waveform_pieces(store, start, stop))
    np.testing.assert_array_equal(np.concatenate(pieces), store.read(start, stop))


def test_nothing_is_computed_twice(waveforms: Path, tmp_path: Path, cache: ShardCache) -> None:
    every = list(range(SHARDS))
    assert computed(waveforms, tmp_path / "1", cache) == every
    assert computed(waveforms, tmp_path / "2", cache) == []
    assert contents(tmp_path / "1") == contents(tmp_path / "2")
    other = msgspec.structs.replace(SPEC, n_fft=512)
    assert computed(waveforms, tmp_path / "3", cache, spec=other) == every
    assert computed(waveforms, tmp_path / "4", cache) == []
    assert contents(tmp_path / "1") == contents(tmp_path / "4")
    assert computed(waveforms, tmp_path / "5", cache, layout=msgspec.structs.replace(LAYOUT, dtype="float16")) == every


def test_shards_are_linked_not_copied(waveforms: Path, tmp_path: Path, cache: ShardCache) -> None:
    for name in ("1", "2"):
        computed(waveforms, tmp_path / name, cache)
    first, second = (FeatureStore.open(tmp_path / name).shard_path(3) for name in ("1", "2"))
    assert first.samefile(second)
    assert first.stat().st_nlink == 3
    assert first.stat().st_mode & 0o222 == 0


def test_a_damaged_entry_is_computed_again(waveforms: Path, tmp_path: Path, cache: ShardCache) -> None:
    computed(waveforms, tmp_path / "1", cache)
    good = contents(tmp_path / "1")
    for path in cache.entries()[:3]:
        path.chmod(0o644)
        path.write_bytes(path.read_bytes()[:-1] + b"?")
    assert len(computed(waveforms, tmp_path / "2", cache)) == 3
    assert contents(tmp_path / "2") == good


def test_one_changed_clip_costs_one_shard(tmp_path: Path, cache: ShardCache) -> None:
    computed(write_waveforms(tmp_path / "w.zarr", CLIPS), tmp_path / "1", cache)
    store = WaveformStore.open(tmp_path / "w.zarr")
    digests, waves = store.digests.copy(), store.read(0, CLIPS)
    digests[100], waves[100] = 7, 0
    edited = rewrite(store, tmp_path / "edited.zarr", digests, waves)
    assert computed(edited, tmp_path / "2", cache) == [3]


def rewrite(store: WaveformStore, path: Path, digests: np.ndarray, waves: np.ndarray) -> Path:
    from features.store.writer import ClipColumns, create_waveform_store

    draft = create_waveform_store(path, ClipColumns(store.labels, store.source_rows, digests), "edited", {}, Corpus())
    for number, (start, stop) in enumerate(draft.shards):
        draft.write(number, waves[start:stop])
    draft.finalize()
    return path


def test_damaged_waveforms_are_never_featurized(tmp_path: Path, cache: ShardCache) -> None:
    path = write_waveforms(tmp_path / "w.zarr", CLIPS)
    shard = WaveformStore.open(path).shard_path(1)
    content = bytearray(shard.read_bytes())
    content[1000] ^= 4
    shard.write_bytes(content)
    with pytest.raises(InputError, match=r"shard 1 of .*w.zarr \(clips 256 to 511\) is not what was written"):
        computed(path, tmp_path / "f.zarr", cache)
    with pytest.raises(InputError), publish(tmp_path / "published") as (aside,):
        computed(path, aside, ShardCache(tmp_path / "other"))
    time.sleep(0.2)  # nobody goes on writing
    assert not list(tmp_path.glob(".partial*"))


def test_a_copy_of_the_store_stands_without_the_cache(waveforms: Path, tmp_path: Path, cache: ShardCache) -> None:
    computed(waveforms, tmp_path / "1", cache)
    before = contents(tmp_path / "1")
    shutil.rmtree(cache.folder)
    assert contents(tmp_path / "1") == before
    FeatureStore.open(tmp_path / "1")


@pytest.mark.parametrize("stage", ["synthesize", "import_speech_commands", "split", "featurize"])
def test_tensorflow_is_never_loaded(stage: str) -> None:
    script = f"import pipeline.{stage}, sys; print([n for n in ('tensorflow', 'keras') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
