import subprocess
import sys
from pathlib import Path

import librosa
import numpy as np
import pytest

from features.featurize import featurize, spec_hash
from features.store import FeatureStore, StoreSpec, WaveformStore, shard_ranges
from features.transform import FeatureSpec

SPEC = FeatureSpec(kind="magnitude", n_fft=258, hop_length=64, window="hann")
LAYOUT = StoreSpec(dtype="float32", chunk_clips=8, shard_clips=32, codec="lz4")


@pytest.fixture(scope="module")
def waveforms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of 530 clips: two whole shards of waveforms and a part of one."""
    path = tmp_path_factory.mktemp("waveforms") / "train.zarr"
    rng = np.random.default_rng(0)
    store = WaveformStore.create(path, rng.integers(12, size=530).astype(np.int8), rng.permutation(530), "digest")
    for start, stop in shard_ranges(530, store.shard_clips):
        store.write_shard(start, rng.uniform(-1, 1, (stop - start, 8000)).astype(np.float32))
    return path


def content(path: Path) -> dict[str, bytes]:
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}


def test_every_clip_has_its_own_features(waveforms: Path, tmp_path: Path) -> None:
    told: list[int] = []
    assert featurize(waveforms, tmp_path / "f.zarr", SPEC, LAYOUT, workers=2, advance=told.append) == 530 == sum(told)
    source, features = WaveformStore.open(waveforms), FeatureStore.open(tmp_path / "f.zarr")
    np.testing.assert_array_equal(features.labels, source.labels)
    np.testing.assert_array_equal(features.source_rows, source.source_rows)
    assert features.attributes["source_digest"] == "digest"
    for clip in (0, 31, 32, 511, 512, 529):
        expected = np.abs(librosa.stft(source.read(clip, clip + 1)[0], n_fft=258))
        actual = features.read(clip, clip + 1)[0]
        np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-5 * expected.max())


def test_the_number_of_workers_changes_no_byte(waveforms: Path, tmp_path: Path) -> None:
    for workers in (1, 3):
        featurize(waveforms, tmp_path / str(workers), SPEC, LAYOUT, workers=workers)
    assert content(tmp_path / "1") == content(tmp_path / "3")


def test_the_hash_tells_settings_apart() -> None:
    hashes = {
        spec_hash(SPEC.model_copy(update=feature), LAYOUT.model_copy(update=layout))
        for feature in ({}, {"n_fft": 512}, {"window": "hamming"})
        for layout in ({}, {"dtype": "float16"})
    }
    assert len(hashes) == 6


@pytest.mark.parametrize("stage", ["synthesize", "import_speech_commands", "split", "featurize"])
def test_tensorflow_is_never_loaded(stage: str) -> None:
    script = f"import pipeline.{stage}, sys; print([n for n in ('tensorflow', 'keras') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
