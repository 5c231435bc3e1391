"""What featurizing a set would compute, what it would cost, and what changed since last time. Writes nothing."""

import io
import time
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from features.fingerprint import current_version, settings_hash, shard_key
from features.spectrogram import FeatureSpec, transform
from features.store.cache import ShardCache
from features.store.layout import StoreSpec, shard_ranges
from features.store.reader import FeatureStore
from features.store.shard import write_shard

SAMPLE_CLIPS = 64
OVERHEAD = 1.6
"""Time to featurize a clip, with reading and writing, relative to transforming and encoding it."""
LISTED_ROWS = 5


@dataclass(frozen=True)
class Clips:
    """The clips of a set."""

    digest: str
    """Digest of the whole set, as its waveform store records it."""
    digests: NDArray[np.uint8]
    """Of each clip, shape (clips, 16)."""
    labels: NDArray[np.integer[Any]]
    source_rows: NDArray[np.int64]
    split: dict[str, Any]
    """Settings by which they were chosen."""
    samples: int
    """Of each clip."""
    sample_rate_hz: int


def made_of(features: FeatureStore, clips: Clips) -> bool:
    """Whether features were computed from these very clips, chosen by the same settings."""
    known = features.attributes
    return bool(known["source_digest"] == clips.digest and known["split"] == clips.split)


def missing_shards(clips: Clips, spec: FeatureSpec, layout: StoreSpec, cache: ShardCache) -> list[tuple[int, int]]:
    """First clip, and the clip after the last, of each shard of a set that is not in the cache."""
    settings = settings_hash(spec.used, clips.sample_rate_hz, layout, current_version())
    return [
        (start, stop)
        for start, stop in shard_ranges(len(clips.digests), layout.shard_clips)
        if cache.find(shard_key(settings, clips.digests[start:stop])) is None
    ]


def estimate(shards: list[tuple[int, int]], spec: FeatureSpec, layout: StoreSpec, clips: Clips) -> tuple[float, int]:
    """Estimate what computing shards costs on this machine, by featurizing some noise into memory.

    Returns
    -------
    float
        Seconds on one core.
    int
        Bytes. With a codec it is an upper limit, because noise does not compress.
    """
    noise = np.random.default_rng(0).uniform(-1, 1, (SAMPLE_CLIPS, clips.samples)).astype(np.float32)
    transform(noise[:1], spec, sample_rate_hz=clips.sample_rate_hz)  # the first call takes longer
    one_chunk = msgspec.structs.replace(layout, chunk_clips=SAMPLE_CLIPS, shard_clips=SAMPLE_CLIPS)
    started = time.perf_counter()
    written = write_shard(io.BytesIO(), [transform(noise, spec, sample_rate_hz=clips.sample_rate_hz)], one_chunk)
    seconds = time.perf_counter() - started
    number = sum(stop - start for start, stop in shards)
    stored = sum(-(-(stop - start) // layout.chunk_clips) * layout.chunk_clips for start, stop in shards)
    return OVERHEAD * seconds / SAMPLE_CLIPS * number, round(written.size / SAMPLE_CLIPS * stored)


def changes(before: FeatureStore, clips: Clips, spec: FeatureSpec, layout: StoreSpec) -> list[str]:
    """Describe what differs from the features of last time: settings, libraries, code, clips."""
    now = {"features": spec.used, "store": layout, "split": clips.split, "made_by": current_version()}
    return provenance_changes(before.attributes, msgspec.to_builtins(now)) + _clip_changes(before, clips)


def provenance_changes(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Describe each setting and version that differs between the attributes of two feature stores.

    Examples
    --------
    >>> provenance_changes({"features": {"n_fft": 258}}, {"features": {"n_fft": 512}})
    ['features.n_fft: 258 -> 512']
    """
    old, new = _settings_and_versions(before), _settings_and_versions(now)
    found = [
        f"{name}: {old.get(name, 'none')} -> {new.get(name, 'none')}"
        for name in {**old, **new}
        if old.get(name) != new.get(name)
    ]
    if before.get("made_by", {}).get("code") != now.get("made_by", {}).get("code"):
        found.append("the code that computes features changed")
    return found


def _settings_and_versions(attributes: dict[str, Any]) -> dict[str, Any]:
    """Flat, such as ``features.n_fft`` and ``library numpy``."""
    parts = {f"{section}.": attributes.get(section, {}) for section in ("features", "store", "split")}
    parts["library "] = attributes.get("made_by", {}).get("libraries", {})
    return {f"{prefix}{name}": value for prefix, values in parts.items() for name, value in sorted(values.items())}


def _clip_changes(before: FeatureStore, now: Clips) -> list[str]:
    if before.clips != len(now.digests):
        return [f"the set has {len(now.digests)} clips; it had {before.clips}"]
    rows = before.source_rows
    moved = rows != now.source_rows
    edited = (before.digests != now.digests).any(axis=1) & ~moved
    relabelled = (before.labels != now.labels) & ~moved
    found = [f"clips from other rows of the npz: {moved.sum()} of {before.clips}"] if moved.any() else []
    for what, which in (("other samples", edited), ("another label", relabelled)):
        if which.any():
            listed = sorted(rows[which].tolist())
            shown = ", ".join(map(str, listed[:LISTED_ROWS])) + (", ..." if len(listed) > LISTED_ROWS else "")
            found.append(f"clips with {what}: {len(listed)} (rows {shown})")
    return found
