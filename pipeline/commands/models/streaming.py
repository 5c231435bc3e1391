"""Scoring networks on a stream, for ``models score --streaming``."""

import csv
import errno
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.audio.layout import Utterance, lay_out, render
from features.audio.windows import windows
from features.errors import InputError
from features.sources.recordings import Other
from features.store.publish import publish
from features.store.shard import checksum
from models.detection import WINDOWS_PER_CLIP, Averager, background_of
from models.streaming import Point, Spoken, choose, curve, summary
from pipeline.commands.models.clips import TEST, Labelled, open_clips
from pipeline.commands.models.network import FILE, STREAMING, Network, find_network
from pipeline.shell.progress import progress
from pipeline.shell.stage import say, warn, warn_waiting

LONGEST_H = 24
CURVES = Path("streaming")
"""Folder of a table for each network, for dvc plots: see docs/using.md."""
SPEECH_DB = 20.0
"""Sound less than this below the loudest of a clip counts as speech, for the end of a word."""


def score_stream(
    models: Sequence[str], source: Path | None, other: Other, hours: float, seed: int, as_json: bool
) -> None:
    """Score networks one after the other; keep what the test set says of those of the project."""
    if not 0 < hours <= LONGEST_H:
        raise InputError(f"--hours is {hours:g}; expected more than 0 and at most {LONGEST_H}")
    if not models:
        raise InputError("there is no trained network; expected one, so run dvc repro first, or name a file")
    results = []
    for model in models:
        network = find_network(model)
        keep = source is None and network.path.name == FILE
        if keep and not os.access(network.path.parent, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(network.path.parent))
        with open_clips(source or TEST, network.corpus, other) as clips:
            result, points = _measure(network, clips, hours, seed)
        results.append(result)
        if keep:
            _keep(network, result, points)
    if as_json:
        say(json.dumps(results, indent=2, ensure_ascii=False))
    else:
        _print(results)


def _measure(network: Network, clips: Labelled, hours: float, seed: int) -> tuple[dict[str, Any], list[Point]]:
    corpus, labels = network.corpus, clips.labels
    rate_hz, clip_s = corpus.sample_rate_hz, corpus.clip_seconds
    samples = round(hours * 3600 * rate_hz)
    silence = corpus.words.index("silence") if "silence" in corpus.words else None
    background = background_of(corpus.words)
    noise = np.flatnonzero(labels == silence) if silence is not None else np.zeros(0, int)

    def read(clip: int) -> NDArray[np.float32]:
        return clips.read(np.array([clip]))[0]

    utterances = lay_out(labels, silence, corpus.clip_samples, samples, seed)
    to_find = [each for each in utterances if each.word not in background]
    if not to_find:
        raise InputError("the clips hold no word to find; expected clips of other words than unknown and silence")
    spoken = [_spoken(each, read(each.clip), rate_hz) for each in to_find]
    classify, average = network.load(), Averager()
    averages = []
    hop = max(1, round(corpus.clip_samples / WINDOWS_PER_CLIP))
    audio = render(utterances, noise, read, samples, rate_hz, seed)
    with progress(f"listening with {network.name}", samples // hop, "windows") as advance:
        for batch in windows(audio, corpus.clip_samples, hop):
            averages.append(average(classify(batch)))
            advance(len(batch))
    points = curve(np.concatenate(averages), spoken, background, clip_s, samples / rate_hz)
    chosen = choose(points)
    without = hours - len(spoken) * clip_s / 3600
    return {
        "model": network.name,
        "network": checksum(network.path).digest if network.path.is_file() else "",
        "hours": hours,
        "seed": seed,
        "words_to_find": len(spoken),
        "other_words": len(utterances) - len(spoken),
        "noise_s": len(noise) * clip_s,
        **summary(chosen, without),
    }, points


def _spoken(utterance: Utterance, clip: NDArray[np.float32], rate_hz: int) -> Spoken:
    from librosa.effects import trim

    start_s = utterance.start / rate_hz
    _, (_, end) = trim(clip, top_db=SPEECH_DB)
    return Spoken(utterance.word, start_s, start_s + len(clip) / rate_hz, start_s + int(end) / rate_hz)


def _keep(network: Network, result: dict[str, Any], points: Sequence[Point]) -> None:
    numbers, table = network.path.with_name(STREAMING), CURVES / f"{network.name}.csv"
    with publish(numbers, table, waiting=warn_waiting) as (json_file, csv_file):
        json_file.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        with open(csv_file, "w", newline="", encoding="utf-8") as file:
            rows = csv.DictWriter(file, [field.name for field in fields(Point)])
            rows.writeheader()
            rows.writerows(asdict(point) for point in points)


def _print(results: Sequence[dict[str, Any]]) -> None:
    first = results[0]
    say(
        f"streaming: {first['words_to_find']} words to find and {first['other_words']} others in {first['hours']:g} h "
        f"of audio; its noise is {first['noise_s']:g} s of recordings, repeated"
    )
    if not first["noise_s"]:
        warn("the clips hold no silence, so what is between the words is digital silence; real rooms are harder")
    width = max(7, *(len(result["model"]) for result in results))
    say(f"{'network':{width}}  threshold  false alarms/h  (below)  missed  delay")
    for result in results:
        say(
            f"{result['model']:{width}}  {result['threshold']:9.3f}  {result['false_alarms_per_hour']:14.1f}  "
            f"({result['false_alarms_per_hour_below']:5.1f})  {result['missed']:6.1%}  {result['delay_s']:4.2f} s"
        )
