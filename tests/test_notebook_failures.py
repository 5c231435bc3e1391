"""The notebook that this project replaces died in three ways. Each has a test that names it."""

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from conftest import Project, columns, make_arrays, write_waveforms

from features.featurize import featurize
from features.spectrogram import FeatureSpec
from features.store.cache import ShardCache
from features.store.layout import StoreSpec
from features.store.reader import FeatureStore
from features.store.writer import FeatureAxes, create_feature_store
from features.stream.batches import scoring_batches, training_batches

SPEC = FeatureSpec(kind="magnitude", n_fft=258, hop_length=64, window="hann")
LAYOUT = StoreSpec(dtype="float32", chunk_clips=32, shard_clips=512, codec="lz4")

PEAK_MEMORY = """
import resource, sys
from pathlib import Path
from features.store.cache import ShardCache
from features.featurize import featurize
from features.store.layout import StoreSpec
from features.spectrogram import FeatureSpec
spec = FeatureSpec(kind="magnitude", n_fft=258, hop_length=64, window="hann")
layout = StoreSpec(dtype="float32", chunk_clips=32, shard_clips=64, codec="lz4")
featurize(Path(sys.argv[1]), Path(sys.argv[2]), spec, layout, ShardCache(Path(sys.argv[3])), workers=2)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def test_the_list_of_spectrograms_that_was_never_assigned(tmp_path: Path) -> None:
    """The notebook computed spectrograms and threw them away: here every clip's features are in the store."""
    source = write_waveforms(tmp_path / "w.zarr", 100)
    featurize(source, tmp_path / "f.zarr", SPEC, LAYOUT, ShardCache(tmp_path / "cache"), workers=2)
    store = FeatureStore.open(tmp_path / "f.zarr")
    peaks = store.read(0, store.clips).max(axis=(1, 2))
    assert store.clips == 100
    assert (peaks > 1).all()


def test_the_memory_that_ran_out_while_every_spectrogram_was_held(tmp_path: Path) -> None:
    """Four times the clips, which are 420 MB of spectrograms more, must not take a tenth of that more memory."""
    peaks_mib = []
    for clips in (2000, 8000):
        source = write_waveforms(tmp_path / f"{clips}.zarr", clips)
        command = [sys.executable, "-c", PEAK_MEMORY, str(source), str(tmp_path / f"f{clips}.zarr")]
        command.append(str(tmp_path / "cache"))
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        peaks_mib.append(float(done.stdout))
    assert peaks_mib[1] < peaks_mib[0] + 42, peaks_mib


def test_the_reshape_of_waveforms_that_were_never_spectrograms(project: Project, tmp_path: Path) -> None:
    """The notebook fed raw waveforms, reshaped: here batches carry (130, 126, 1) features of the very clips."""
    made = make_arrays(10)
    project.save_npz(made)
    project.set(**{"features.hop_length": 64})
    for stage in (["split"], ["featurize", "train"]):
        done = project.stage(*stage)
        assert done.code == 0, done.err
    path = project.folder / "data/features/train.zarr"
    for batches in (training_batches(path, 16, 0), scoring_batches(path, 16)):
        features, labels = next(batches.as_numpy_iterator())
        assert features.shape == (16, 130, 126, 1)
        assert labels.shape == (16,)
        assert (features >= 0).all()
    axes = FeatureAxes(*SPEC.axes(8000, 8000))
    draft = create_feature_store(
        tmp_path / "raw.zarr", axes, LAYOUT, columns(100), {"store": msgspec.to_builtins(LAYOUT)}
    )
    with pytest.raises(ValueError, match="are not features of"):
        draft.write(0, made["wav_vals"][:100])
