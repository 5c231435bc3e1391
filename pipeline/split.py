"""Stage ``split``: divide the clips of the npz into three sets, before anything is computed from them."""

import json
from collections import Counter
from hashlib import blake2b
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from features.corpus import Corpus, word_counts
from features.errors import InputError
from features.sources.npz import Source, open_source
from features.split.division import (
    Division,
    count_crossings,
    count_duplicates,
    divide_source,
    find_near_duplicates,
    write_set,
)
from features.split.marks import MARKS, Marks, read_marks
from features.split.sets import SETS, SplitSpec
from features.store.publish import publish, scratch
from pipeline.shell.options import DEFAULT_SIZE, Folder, Size, parse_size, shard_cache
from pipeline.shell.params import MARKS_FILE, DataSpec, read_section, refuse_edited_settings
from pipeline.shell.progress import progress
from pipeline.shell.results import Results, result_key
from pipeline.shell.source import find_npz
from pipeline.shell.stage import counted, default_workers, refuse_edited_code, run, say, warn, warn_waiting

FOLDER = Path("data/split")
CODE = ("features.split.near",)
"""Modules that decide which clips are near-duplicates."""
LIBRARIES = ("ducc0", "numpy")
LISTED_PAIRS = 100
"""Near-duplicates in different sets that the metrics name."""
METRICS = Path("metrics/split.json")
UNKNOWN_SPEAKERS = "; the npz does not name all speakers, so the test set may hold voices of the training set"


def main(
    workers: Annotated[int, typer.Option(envvar="WORKERS", min=1, help="Threads.")] = default_workers(),
    cache_folder: Folder = None,
    cache_size: Size = DEFAULT_SIZE,
) -> None:
    """Write data/split/{train,validation,test}.zarr and metrics/split.json by the settings and the marks."""
    limit = parse_size(cache_size)
    cache = shard_cache(cache_folder)
    data = read_section("data", DataSpec)
    spec = read_section("split", SplitSpec)
    corpus = read_section("corpus", Corpus)
    marks = read_marks(MARKS_FILE)
    stores = [FOLDER / f"{name}.zarr" for name in SETS]
    with scratch(FOLDER / "samples", warn_waiting) as inflated, open_source(find_npz(data), inflated, corpus) as source:
        with progress("examining", source.clips) as advance:
            division = divide_source(source, spec, marks, advance)
        for remark in source.warnings:
            warn(remark)
        absent = [word for word, count in word_counts(source.labels, corpus.words).items() if not count]
        if absent:
            warn(f"{data.npz} has no clip of {', '.join(absent)}; no network will learn to tell it")
        with (
            publish(*stores, METRICS, waiting=warn_waiting) as (*asides, metrics),
            progress("splitting", source.clips) as advance,
        ):
            outcomes = [
                write_set(aside, name, source, division, cache, workers=workers, advance=advance)
                for name, aside in zip(SETS, asides, strict=True)
            ]
            if not source.is_unchanged:
                raise source.changed
            near = _near_duplicates(source, division, metrics.with_name("near.npy"), workers)
            summary = _summary(source, division, near)
            metrics.write_text(json.dumps(summary, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
            refuse_edited_settings({"corpus": corpus, "data": data, "split": spec})
            _refuse_edited_marks(marks)
            refuse_edited_code()
    cache.prune(limit)
    crossing = summary["near_duplicates"]["pairs_in_several_sets"]
    if crossing:
        warn(f"{counted(crossing, 'pair')} of clips in different sets sound like one take; see {METRICS}")
    _warn_of_lost_words(division, corpus)
    sizes = ", ".join(f"{name} {len(rows)}" for name, rows in division.rows.items())
    reused = [outcome.reused for each in outcomes for outcome in each]
    written = counted(reused.count(False), "shard")
    say(
        f"split: {source.clips} clips in {division.groups.max() + 1} groups, {written} written, "
        f"{reused.count(True)} reused -> {sizes}{'' if source.speakers_known else UNKNOWN_SPEAKERS}"
    )
    if division.left_out:
        reasons = ", ".join(f"{count} {reason}" for reason, count in _reasons(division).items())
        say(f"split: left out {counted(len(division.left_out), 'clip')} marked in {MARKS_FILE}: {reasons}")
    if division.unmatched_marks:
        say(
            f"split: {MARKS_FILE} marks {counted(division.unmatched_marks, 'clip')} that {data.npz} does not hold, or "
            "holds as another word"
        )


def _refuse_edited_marks(before: Marks) -> None:
    """Fail if the marks were edited since they were read; DVC would record the new ones, as it does settings."""
    if read_marks(MARKS_FILE) != before:
        raise InputError(
            f"{MARKS_FILE} was edited while this ran, and DVC would record the new marks for this result; run this "
            "again"
        )


def _warn_of_lost_words(division: Division, corpus: Corpus) -> None:
    for name in SETS:
        lost = [corpus.words[label] for label in division.lost_labels(name)]
        if lost:
            warn(f"the {name} set has no clip of {', '.join(lost)} left: all of them are marked in {MARKS_FILE}")


def _reasons(division: Division) -> dict[str, int]:
    """How many clips were left out for each reason."""
    counts = Counter(each.reason for each in division.left_out)
    return {reason: counts[reason] for reason in MARKS if counts[reason]}


def _published(source: Source, division: Division) -> dict[str, Any]:
    """What is wrong with the split that the npz publishes, if it was taken."""
    if source.sets is None or division.spec.published == "ignore":
        return {}
    crossings = count_crossings(source.sets, source.groups, division.digests)
    return {
        "published": {
            "split": division.spec.published,
            "speakers_in_several_sets": crossings["speakers"],
            "copies_in_several_sets": crossings["contents"],
        }
    }


def _near_duplicates(source: Source, division: Division, scratch: Path, workers: int) -> NDArray[np.int64]:
    """Rows of clips of the same take, as kept from an earlier run or found now."""
    results = Results.of_project()
    key = result_key([blake2b(division.digests.tobytes()).hexdigest(), source.corpus.sample_rate_hz], CODE, LIBRARIES)
    if not results.take(key, {"near": scratch}):
        with progress("comparing", source.clips) as advance:
            np.save(scratch, find_near_duplicates(source, division.digests, workers=workers, advance=advance))
        results.keep(key, {"near": scratch})
    return np.asarray(np.load(scratch))


def _summary(source: Source, division: Division, near: NDArray[np.int64]) -> dict[str, Any]:
    """What the metrics say: of the clips in the sets, and of those left out under ``dropped``."""
    kept = division.kept
    set_of = np.empty(source.clips, np.int8)
    for number, rows in enumerate(division.rows.values()):
        set_of[rows] = number
    near = near[np.isin(near, kept).all(axis=1)]
    crossing = near[set_of[near[:, 0]] != set_of[near[:, 1]]]
    return {
        "clips": source.clips,
        "speakers_known": source.speakers_known,
        "sets": {
            name: {
                "clips": len(rows),
                "groups": len(np.unique(division.groups[rows])),
                "words": word_counts(source.labels[rows], source.corpus.words),
            }
            for name, rows in division.rows.items()
        },
        **_published(source, division),
        "duplicates": count_duplicates(division.digests[kept], source.labels[kept]),
        "near_duplicates": {
            "clips": len(np.unique(near)),
            "pairs": len(near),
            "pairs_in_several_sets": len(crossing),
            "rows_in_several_sets": crossing[:LISTED_PAIRS].tolist(),
        },
        "silent_clips": int((division.peaks[kept] == 0).sum()),
        "clips_beyond_full_scale": int((division.peaks[kept] > 1).sum()),
        "dropped": {
            "clips": len(division.left_out),
            "reasons": _reasons(division),
            "rows": [
                {
                    "row": each.row,
                    "recording": str(source.recordings[each.row]),
                    "word": source.corpus.words[source.labels[each.row]],
                    "reason": each.reason,
                }
                for each in division.left_out
            ],
        },
    }


if __name__ == "__main__":
    run(main)
