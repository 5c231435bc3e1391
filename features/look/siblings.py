"""Stores that belong together: the sets beside a store, and the waveforms and features of the same clips."""

from contextlib import suppress
from pathlib import Path

from features.errors import InputError
from features.store.reader import FeatureStore, Store, WaveformStore

SPLIT = Path("data/split")
FEATURES = Path("data/features")


def waveforms_of(store: Store) -> WaveformStore | None:
    """The waveforms that features were computed from, if they are in ``split`` beside the features or here."""
    if isinstance(store, WaveformStore):
        return store
    for path in (store.path.absolute().parent.parent / "split" / store.path.name, *sorted(SPLIT.glob("*.zarr"))):
        with suppress(InputError):
            found = WaveformStore.open(path)
            if found.attributes["digest"] == store.attributes["source_digest"]:
                return found
    return None


def features_of(store: Store) -> FeatureStore | None:
    """The features that were computed from waveforms, if they are in ``features`` beside the waveforms or here."""
    if isinstance(store, FeatureStore):
        return store
    for path in (store.path.absolute().parent.parent / "features" / store.path.name, *sorted(FEATURES.glob("*.zarr"))):
        with suppress(InputError):
            found = FeatureStore.open(path)
            if found.attributes["source_digest"] == store.attributes["digest"]:
                return found
    return None
