"""Stage ``report``: one page that shows how good the networks are and lets people hear what they get wrong."""

import json
import platform
from base64 import b64encode
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.errors import InputError
from features.look.measures import measure
from features.look.media import flac, frequency_ticks, time_ticks, webp
from features.look.summary import numbered_chunks
from features.split.sets import SETS
from features.store.publish import publish
from features.store.reader import FeatureStore, WaveformStore
from models.history import best_of
from pipeline.pages.charts import Chart, Rated, cost_chart, curves
from pipeline.pages.galleries import (
    SHOWN,
    ClipId,
    Gallery,
    changed_sides,
    fit,
    galleries_of,
    shown_first,
    suspected_labels,
)
from pipeline.pages.render import render
from pipeline.pages.runs import Before, Run, compare, is_uncommitted, read_before, read_run
from pipeline.shell.params import PARAMS, DataSpec, read_networks, read_section
from pipeline.shell.progress import progress
from pipeline.shell.source import find_npz
from pipeline.shell.stage import counted, refuse_edited_code, run, say, warn_waiting
from pipeline.shell.times import read_time

PAGE = Path("reports/index.html")
SPLIT = Path("metrics/split.json")
FEATURES = Path("data/features/{}.zarr")
WAVEFORMS = Path("data/split/{}.zarr")
MEDIA = 12 * 2**20
"""Characters that clips may take."""
DIGITS = 6
"""Most characters of a probability."""
LIBRARIES = ("tensorflow", "keras", "numpy", "librosa", "ducc0", "zarr", "dask", "dvc")


def main() -> None:
    """Write reports/index.html from metrics, predictions, histories and the stores; it opens from disk."""
    npz = find_npz(read_section("data", DataSpec))
    networks = read_networks()
    test = FeatureStore.open(Path("data/features/test.zarr"))
    waveforms = {name: WaveformStore.open(Path(f"data/split/{name}.zarr")) for name in SETS}
    split = _read_split(test.attributes["words"])
    found = {name: read_run(name, test) for name in networks}
    runs = [each for each in found.values() if each]
    before = read_before(runs)
    with publish(PAGE, waiting=warn_waiting) as (staged,):
        quality, galleries = _listen(waveforms)
        galleries["near"] = _near(split, waveforms)
        for each in runs:
            galleries |= galleries_of(each.name, each.predictions)
            if isinstance(before, Before) and each.name in before.predictions:
                galleries |= changed_sides(each.name, before.predictions[each.name], each.predictions)
        if runs:
            galleries["labels"] = suspected_labels([each.predictions for each in runs])
        wanted = list(shown_first(galleries))
        numbers = len(runs) * len(test.attributes["words"]) * DIGITS
        media = _encode(wanted, test, waveforms, numbers)
        best = max(runs, key=lambda each: each.metrics.accuracy).name if runs else None
        page = render(
            "report.html.j2",
            ("cards.js", "report.js"),
            words=test.attributes["words"],
            test_clips=test.clips,
            speakers_known=test.attributes["speakers_known"],
            runs=runs,
            missing=[name for name, each in found.items() if not each],
            best=best,
            before=before,
            changes={each.name: compare(each, before) for each in runs} if isinstance(before, Before) else {},
            shown={name: sum(clip in media for clip in gallery.clips) for name, gallery in galleries.items()},
            cost=_cost_chart(runs) if runs else None,
            learning=_curves(runs),
            best_epochs=[(each, best_of(each.history)) for each in runs],
            confusion={each.name: _confusion(each) for each in runs},
            galleries=galleries,
            sets=split["sets"],
            split=split,
            quality=quality,
            facts=_facts(npz, test),
            times=_times(networks),
            settings=PARAMS.read_text(encoding="utf-8"),
            embedded=len(media),
            wanted=len(wanted),
            limit_mib=MEDIA // 2**20,
            data=_data(test, waveforms, runs, galleries, media, best),
        )
        staged.write_text(page, encoding="utf-8")
        refuse_edited_code()
    say(
        f"report: {PAGE} shows {counted(len(runs), 'network')} and {counted(len(media), 'clip')} to hear, "
        f"{PAGE.stat().st_size / 2**20:.1f} MiB"
    )
    if is_uncommitted():
        say(
            "report: commit this run, and the next report compares with it: git add dvc.lock metrics params.yaml "
            "marks.tsv && git commit -m 'describe it'"
        )


def _read_split(words: list[str]) -> dict[str, Any]:
    """What split says of the clips.

    Raises
    ------
    InputError
        If it cannot be read, or is of other words.
    """
    try:
        found = json.loads(SPLIT.read_text(encoding="utf-8"))
        if any(list(found["sets"][name]["words"]) != words for name in SETS):
            raise ValueError("it is of other words")
        return {"near_duplicates": found["near_duplicates"], "dropped": found["dropped"], **found}
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InputError(f"{SPLIT} cannot be read ({error}); run dvc repro --force split to make it again") from None


def _listen(stores: Mapping[str, WaveformStore]) -> tuple[dict[str, dict[str, int]], dict[str, Gallery]]:
    """Silent and clipped clips: how many there are in each set, and the first few."""
    quality, silent, clipped = {}, [], []
    with progress("listening", sum(store.clips for store in stores.values())) as advance:
        for name, store in stores.items():
            counts = {"silent": 0, "clipped": 0}
            for start, chunk in numbered_chunks(store):
                measures = measure(chunk, store.attributes["sample_rate_hz"])
                is_silent = ~chunk.any(axis=1)
                counts["silent"] += int(is_silent.sum())
                counts["clipped"] += int(measures.clipped.sum())
                silent += [ClipId(name, start + int(number)) for number in np.flatnonzero(is_silent)]
                clipped += [ClipId(name, start + int(number)) for number in np.flatnonzero(measures.clipped)]
                advance(len(chunk))
            quality[name] = counts
    few = SHOWN // 2
    return quality, {
        "silent": Gallery(silent[:few], total=len(silent)),
        "clipped": Gallery(clipped[:few], total=len(clipped)),
    }


def _near(split: Mapping[str, Any], stores: Mapping[str, WaveformStore]) -> Gallery:
    """Pairs of clips in different sets that sound like one take."""
    pairs = split["near_duplicates"]["rows_in_several_sets"][: SHOWN // 2]
    where = {
        int(row): ClipId(name, number)
        for name, store in stores.items()
        for number, row in enumerate(store.source_rows)
        if row in {row for pair in pairs for row in pair}
    }
    return Gallery([where[row] for pair in pairs for row in pair])


def _encode(
    wanted: list[ClipId], test: FeatureStore, waveforms: Mapping[str, WaveformStore], numbers: int
) -> dict[ClipId, dict[str, str]]:
    """Sound and picture of clips, as many as fit; ``numbers`` is what the probabilities of each take beside them."""
    features = {
        name: test if name == "test" else FeatureStore.open(Path(f"data/features/{name}.zarr"))
        for name in {clip.set for clip in wanted}
    }
    rate_hz, unit = test.attributes["sample_rate_hz"], test.attributes["unit"]
    with progress("drawing", len(wanted)) as advance:

        def encode(clip: ClipId) -> dict[str, str]:
            wave = waveforms[clip.set].read(clip.number, clip.number + 1)[0]
            values = features[clip.set].read(clip.number, clip.number + 1)[0]
            advance(1)
            media = {"sound": flac(wave, rate_hz), "picture": webp(values, unit)}
            return {name: b64encode(content).decode() for name, content in media.items()}

        return fit(wanted, encode, MEDIA, numbers)


def _data(
    test: FeatureStore,
    waveforms: Mapping[str, WaveformStore],
    runs: list[Run],
    galleries: Mapping[str, Gallery],
    media: Mapping[ClipId, Mapping[str, str]],
    best: str | None,
) -> dict[str, Any]:
    """What the page's script reads."""
    labels = {name: store.labels for name, store in waveforms.items()}
    rows = {name: store.source_rows for name, store in waveforms.items()}
    recordings = {name: store.recordings for name, store in waveforms.items()}
    number_of = {clip: number for number, clip in enumerate(media)}
    clips = []
    for clip, content in media.items():
        about: dict[str, Any] = {
            "set": clip.set,
            "number": clip.number,
            "row": int(rows[clip.set][clip.number]),
            "recording": str(recordings[clip.set][clip.number]),
            "label": int(labels[clip.set][clip.number]),
            **content,
        }
        if clip.set == "test" and runs:
            about["heard"] = {each.name: int(each.predictions.predicted[clip.number]) for each in runs}
            about["p"] = {
                each.name: (each.predictions.probabilities[clip.number] * 10000).round().astype(int).tolist()
                for each in runs
            }
        clips.append(about)
    return {
        "words": test.attributes["words"],
        "best": best,
        "time_ticks": vars(time_ticks(test.attributes["clip_seconds"])),
        "frequency_ticks": vars(frequency_ticks(test.axes)),
        "clips": clips,
        "galleries": {
            name: {
                "clips": [number_of[clip] for clip in gallery.clips if clip in number_of],
                "network": gallery.network,
                "total": gallery.total,
            }
            for name, gallery in galleries.items()
        },
    }


def _cost_chart(runs: list[Run]) -> Chart:
    return cost_chart(
        [Rated(each.name, each.cost.multiply_adds, each.metrics.accuracy, *each.metrics.accuracy_ci95) for each in runs]
    )


def _curves(runs: list[Run]) -> list[Chart]:
    def lines(name: str) -> list[tuple[str, int, list[float], bool]]:
        both = [
            (each.name, number, [getattr(epoch, column) for epoch in each.history], is_faint)
            for number, each in enumerate(runs)
            for column, is_faint in ((name, True), (f"val_{name}", False))
        ]
        return sorted(both, key=lambda line: not line[3])  # validation is drawn on top

    return [
        curves("Accuracy", "share of clips that are right", lines("accuracy"), as_percent=True),
        curves("Loss", "mean cross-entropy", lines("loss"), as_percent=False),
    ]


def _confusion(each: Run) -> list[list[int]]:
    words = len(each.predictions.words)
    table: NDArray[np.int64] = np.zeros((words, words), np.int64)
    np.add.at(table, (each.predictions.labels, each.predictions.predicted), 1)
    return [list(map(int, row)) for row in table]


def _facts(npz: Path, test: FeatureStore) -> list[tuple[str, str]]:
    attributes = test.attributes
    return [
        ("clips", str(npz)),
        ("sample rate", f"{attributes['sample_rate_hz']:,} Hz"),
        ("length of a clip", f"{attributes['clip_seconds']:g} s"),
        ("features", " x ".join(map(str, test.shape)) + f", in {attributes['unit']}"),
        ("identifier of the test set", attributes["source_digest"]),
        ("identifier of its features", attributes["spec_hash"]),
        ("Python", f"{platform.python_version()} on {platform.system()} {platform.machine()}"),
        *((library, version(library)) for library in LIBRARIES),
    ]


def _times(networks: list[str]) -> list[tuple[str, float]]:
    """Stages in the order in which they run, with the seconds they took."""
    stages = ["synthesize", "split", *(f"featurize {name}" for name in SETS)]
    stages += [f"{stage} {name}" for name in networks for stage in ("train", "evaluate")]
    found = [(stage, read_time(stage)) for stage in stages]
    return [(stage, seconds) for stage, seconds in found if seconds is not None]


if __name__ == "__main__":
    run(main)
