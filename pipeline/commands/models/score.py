"""Command ``models score``: how good a network is on any labelled recordings, or on a stream."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from features.corpus import Corpus
from features.errors import InputError
from features.look.siblings import SPLIT
from features.sources.recordings import Other
from features.split.division import digests_of
from features.store.reader import WaveformStore
from pipeline.commands.models.clips import TEST, Labelled, open_clips
from pipeline.commands.models.network import Classify, find_network, trained_networks
from pipeline.commands.models.streaming import score_stream
from pipeline.shell.progress import progress
from pipeline.shell.stage import counted, say, warn

BATCH_CLIPS = 64
MISTAKES = 3
"""Words that a word is most often mistaken for, in the table."""


def command(
    model: Annotated[
        str | None,
        typer.Argument(help="Name of a trained network, or path of an exported one; with --streaming, all by default."),
    ] = None,
    source: Annotated[
        Path | None,
        typer.Argument(
            help="A folder, .zip or .tar.gz of recordings in a folder for each word, or an npz; by default the test "
            "set.",
            show_default=False,
        ),
    ] = None,
    streaming: Annotated[
        bool, typer.Option("--streaming", help="Lay the clips out in long audio and look for the words in it.")
    ] = False,
    hours: Annotated[float, typer.Option(min=0.05, help="Length of that audio.")] = 1.0,
    seed: Annotated[int, typer.Option(min=0, help="What decides the layout of that audio.")] = 0,
    other: Annotated[Other, typer.Option(help="What to do with words that the network does not know.")] = "refuse",
    as_json: Annotated[bool, typer.Option("--json", help="Print it for programs.")] = False,
) -> None:
    """Score a network on labelled recordings: accuracy, each word, and what it is mistaken for.

    With --streaming: false alarms an hour and missed words, over the threshold.
    """
    if other == "own":
        raise InputError("--other own makes words that no network knows; expected refuse, unknown or leave-out")
    if streaming:
        models = [model] if model else [path.parent.name for path in trained_networks()]
        score_stream(models, source, other, hours, seed, as_json)
        return
    network = find_network(model)
    if other == "unknown" and "unknown" not in network.corpus.words:
        raise InputError(f"{network.name} has no word unknown; expected --other refuse or leave-out")
    with open_clips(source or TEST, network.corpus, other) as clips:
        result = _score(clips, network.load(), network.corpus)
    if result["clips_of_training"]:
        warn(
            f"{counted(result['clips_of_training'], 'clip')} of these {result['clips']:,} are in this project's "
            f"training or validation set, so the accuracy is too high; models score {network.name} tells that of the "
            "test set"
        )
    result = {"model": network.name, "source": str(source or TEST), **result}
    if as_json:
        say(json.dumps(result, indent=2, ensure_ascii=False))
    else:
        _print(result)


def _score(clips: Labelled, classify: Classify, corpus: Corpus) -> dict[str, Any]:
    from models.evaluation import score

    total, known, heard = len(clips.labels), _clips_of_training(), 0
    probabilities = np.empty((total, len(corpus.words)))
    with progress("scoring", total) as advance:
        for start in range(0, total, BATCH_CLIPS):
            numbers = np.arange(start, min(start + BATCH_CLIPS, total))
            samples = clips.read(numbers)
            heard += len(known.intersection(digest.tobytes() for digest in digests_of(samples)))
            probabilities[numbers] = classify(samples)
            advance(len(numbers))
    predicted = probabilities.argmax(axis=1)
    confusion = np.zeros((len(corpus.words), len(corpus.words)), int)
    np.add.at(confusion, (clips.labels, predicted), 1)
    measured = score(clips.labels, np.log(np.maximum(probabilities, np.finfo(float).tiny)), corpus.words)
    return {
        "accuracy": measured["accuracy"],
        "accuracy_ci95": measured["accuracy_ci95"],
        "loss": measured["loss"],
        "clips": measured["test_clips"],
        "clips_of_training": heard,
        "words": measured["words"],
        "confusion": {"rows_are": "actual", "words": corpus.words, "clips": confusion.tolist()},
        "predictions": [
            {
                "clip": name,
                "actual": corpus.words[label],
                "predicted": corpus.words[guess],
                "confidence": float(row[guess]),
            }
            for name, label, guess, row in zip(clips.names, clips.labels, predicted, probabilities, strict=True)
        ],
    }


def _clips_of_training() -> set[bytes]:
    """Digests of the clips in this project's training and validation sets, if they are there."""
    found: set[bytes] = set()
    for name in ("train", "validation"):
        with suppress(InputError):
            found.update(digest.tobytes() for digest in WaveformStore.open(SPLIT / f"{name}.zarr").digests)
    return found


def _print(result: dict[str, Any]) -> None:
    low, high = result["accuracy_ci95"]
    say(
        f"score: {result['model']} is right on {result['accuracy']:.1%} of {result['clips']} clips of "
        f"{result['source']} (95% interval {low:.1%} to {high:.1%})"
    )
    words = result["words"]
    width = max(4, *(len(each["word"]) for each in words))
    say(f"{'word':{width}}  clips  recall  precision  mistaken for")
    for number, each in enumerate(words):
        row = np.array(result["confusion"]["clips"][number])
        row[number] = 0
        worst = [at for at in np.argsort(-row, kind="stable")[:MISTAKES] if row[at]]
        mistakes = ", ".join(f"{words[at]['word']} {row[at]}" for at in worst)
        shares = f"{each['recall']:6.1%}     {each['precision']:6.1%}" if each["clips"] else "     -          -"
        say(f"{each['word']:{width}}  {each['clips']:5}  {shares}  {mistakes}".rstrip())
