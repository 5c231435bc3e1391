"""The features that ``dvc repro`` will train and score networks on, as far as they are known before it runs."""

from dataclasses import dataclass, field
from pathlib import Path

from features.corpus import Corpus
from features.errors import InputError
from features.plan import Clips, changes
from features.spectrogram import FeatureSpec
from features.split.sets import SETS
from features.store.layout import StoreSpec
from features.store.reader import FeatureStore
from pipeline.commands.dvc_status import DvcStatus
from pipeline.commands.features.explain import clips_after_split
from pipeline.shell.params import DataSpec, read_section
from pipeline.shell.source import DEMO, find_npz
from pipeline.synthesize import is_demo_made


@dataclass(frozen=True)
class Upcoming:
    """Features of a set as they will be."""

    store: FeatureStore | None
    """Where they are already; None if DVC will compute or restore them."""
    changes: list[str] = field(default_factory=list)
    """What will be new about them, to follow a word for them; empty if nothing will."""
    clips: int | None = None
    """How many clips they have; None if that is not known."""
    shape: tuple[int, int] | None = None
    """Frequencies and frames of a clip."""


def upcoming_features(status: DvcStatus) -> dict[str, Upcoming]:
    """The features of each set, given what DVC says of the stages that make them.

    Raises
    ------
    InputError
        If settings are not valid, or other clips will be in the sets and the npz cannot be read.
    """
    found: dict[str, Upcoming] = {}
    clips: dict[str, Clips] = {}
    is_demo = find_npz(read_section("data", DataSpec)) == DEMO
    has_new_corpus = is_demo and status.reasons("synthesize") and not is_demo_made()
    is_split = bool(status.reasons("synthesize") or status.reasons("split"))
    for name in SETS:
        path, stage = Path(f"data/features/{name}.zarr"), f"featurize@{name}"
        runs = is_split or bool(status.reasons(stage))
        try:
            store = FeatureStore.open(path)
        except InputError:
            found[name] = Upcoming(None, ["are not computed yet"] if runs else [])
            continue
        if not runs:
            found[name] = Upcoming(None) if status.changed_outs(stage) else _as_it_is(store)
            continue
        if has_new_corpus:
            why = status.changed_settings("synthesize") or ["the demo corpus is made anew"]
            found[name] = Upcoming(None, [f"change: {each}" for each in why])
            continue
        clips = clips or clips_after_split(list(SETS), status)
        found[name] = _computed(store, clips[name])
    return found


def _as_it_is(store: FeatureStore) -> Upcoming:
    return Upcoming(store, [], store.clips, (store.shape[0], store.shape[1]))


def _computed(before: FeatureStore, clips: Clips) -> Upcoming:
    spec, layout = read_section("features", FeatureSpec), read_section("store", StoreSpec)
    found = changes(before, clips, spec, layout)
    if not found:
        return _as_it_is(before)
    return Upcoming(
        None,
        [f"change: {change}" for change in found],
        len(clips.digests),
        spec.shape(read_section("corpus", Corpus).clip_samples),
    )
