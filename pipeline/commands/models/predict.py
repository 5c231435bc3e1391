"""Command ``models predict``: the words in recordings."""

import json
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from msgspec.structs import replace
from numpy.typing import NDArray

from features.audio.clips import Treatment, prepare
from features.audio.decode import RecordingError, opened
from features.audio.windows import Scan, blocks, scan, windows
from features.corpus import Corpus
from features.errors import InputError
from features.sources.files import read_files
from features.sources.recordings import why_not
from models.detection import THRESHOLD, WINDOWS_PER_CLIP, Averager, Detector, background_of
from pipeline.commands.models.microphone import listen
from pipeline.commands.models.network import Classify, Network, find_network
from pipeline.shell.progress import progress
from pipeline.shell.stage import USAGE, counted, default_workers, print_error, say, warn

BATCH_FILES = 64
"""Recordings that are read, and then classified, at once."""
SHORT_CLIPS = 1.5
"""Recordings up to this length are one word each; longer ones are searched for words."""
WORTH_MENTIONING = 0.1
"""Share of a clip that may be padded without a remark."""
STDIN = "-"


@dataclass(frozen=True)
class Heard:
    """A recording that was read: one clip, or a long recording that was gone through once."""

    path: Path
    clip: NDArray[np.float32] | None = None
    treatment: Treatment = field(default_factory=Treatment)
    scanned: Scan | None = None
    error: str = ""


def command(
    files: Annotated[
        list[str] | None, typer.Argument(help="Recordings, folders of recordings, or - for standard input.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="Name of a trained network, or path of an exported one; by default the one with the least validation "
            "loss.",
            show_default=False,
        ),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="Probability from which a word in a long recording is reported; by default what models score "
            f"--streaming found, or {THRESHOLD}.",
            show_default=False,
        ),
    ] = None,
    microphone: Annotated[bool, typer.Option("--microphone", help="Listen until Ctrl-C.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print it for programs.")] = False,
) -> None:
    """Say which words recordings hold: any format libsndfile reads, any rate, channels and length.

    A recording of up to one and a half clips gets one word; in a longer one, words are found with start and end.
    """
    if not files and not microphone:
        raise InputError("there is nothing to listen to; expected recordings, a folder of them, - or --microphone")
    network = find_network(model)
    limit = network.threshold if threshold is None else threshold
    if microphone:
        listen(network, limit)
        return
    answers = []
    failed = False
    with standard_input(STDIN in (files or [])) as spooled:
        for answer in _answers(_recordings(files or [], spooled), network, limit):
            failed = failed or "error" in answer
            if answer["file"] == str(spooled):
                answer["file"] = STDIN
            if as_json:
                answers.append(answer)
            else:
                _print(answer, limit)
    if as_json:
        say(json.dumps({"model": network.name, "threshold": limit, "files": answers}, indent=2, ensure_ascii=False))
    if failed:
        raise typer.Exit(USAGE)


@contextmanager
def standard_input(wanted: bool) -> Iterator[Path]:
    """Give the path of a temporary file with what standard input holds, because audio is read more than once."""
    with tempfile.NamedTemporaryFile(prefix="standard-input-") as file:
        if wanted:
            shutil.copyfileobj(sys.stdin.buffer, file)
            file.flush()
        yield Path(file.name)


def _recordings(files: Iterable[str], spooled: Path) -> Iterator[Path]:
    """Paths of recordings, with those in folders."""
    for name in files:
        path = spooled if name == STDIN else Path(name)
        if not path.is_dir():
            yield path
            continue
        found = left_out = 0
        for file in read_files(path, why_not):
            if file.on_disk:
                found += 1
                yield Path(file.on_disk)
            else:
                left_out += 1
        if left_out:
            warn(f"{counted(left_out, 'file')} in {path} left out: no recordings")
        if not found:
            raise InputError(f"{path} holds no recording; expected audio files, such as .wav or .mp3")


def _answers(recordings: Iterator[Path], network: Network, threshold: float) -> Iterator[dict[str, Any]]:
    """What each recording holds, in order."""
    classify: Classify | None = None
    corpus = network.corpus
    with ThreadPoolExecutor(default_workers()) as pool:
        while batch := list(islice(recordings, BATCH_FILES)):
            heard = list(pool.map(lambda path: _hear(path, corpus), batch))
            if classify is None and not all(each.error for each in heard):
                classify = network.load()
            clips = [each.clip for each in heard if each.clip is not None]
            words = iter(classify(np.stack(clips)) if classify and clips else ())
            for each in heard:
                answer: dict[str, Any] = {"file": str(each.path)}
                if each.clip is not None:
                    answer |= _word(next(words), each.treatment, corpus)
                elif each.scanned and classify:
                    answer |= _events(each.path, each.scanned, corpus, classify, threshold)
                else:
                    answer["error"] = each.error
                yield answer


def _hear(path: Path, corpus: Corpus) -> Heard:
    try:
        with open(path, "rb") as file:
            with opened(file) as sound:
                seconds = sound.frames / sound.samplerate
            file.seek(0)
            if seconds > SHORT_CLIPS * corpus.clip_seconds:
                return Heard(path, scanned=scan(file))
            clips, treatment = prepare(file.read(), corpus, "loudest")
            return Heard(path, clip=clips[0], treatment=treatment)
    except RecordingError as error:
        return Heard(path, error=f"{error}; expected a recording such as a .wav, .flac, .ogg or .mp3 file")
    except FileNotFoundError:
        return Heard(
            path, error="does not exist; expected a recording, a folder of recordings, or - for standard input"
        )
    except OSError as error:
        return Heard(path, error=f"cannot be read ({error.strerror}); expected a recording")


def _word(probabilities: NDArray[np.float64], treatment: Treatment, corpus: Corpus) -> dict[str, Any]:
    first, second = np.argsort(probabilities)[:-3:-1]
    told = replace(treatment, resampled_from_hz=0)
    if treatment.padded_s < WORTH_MENTIONING * corpus.clip_seconds:
        told = replace(told, padded_s=0.0)
    return {
        "word": corpus.words[first],
        "probability": float(probabilities[first]),
        "runner_up": {"word": corpus.words[second], "probability": float(probabilities[second])},
        "probabilities": dict(zip(corpus.words, probabilities.tolist(), strict=True)),
        "remarks": str(told),
    }


def _events(path: Path, scanned: Scan, corpus: Corpus, classify: Classify, threshold: float) -> dict[str, Any]:
    """Find words in a long recording."""
    average, detect = Averager(), Detector(threshold, background_of(corpus.words))
    hop = max(1, round(corpus.clip_samples / WINDOWS_PER_CLIP))
    total = int(scanned.seconds / corpus.clip_seconds * WINDOWS_PER_CLIP)
    with open(path, "rb") as file, progress(f"listening to {path.name}", total, "windows") as advance:
        for batch in windows(blocks(file, scanned, corpus.sample_rate_hz), corpus.clip_samples, hop):
            detect(average(classify(batch)))
            advance(len(batch))
    remarks = {
        f"channel {(scanned.channel or 0) + 1} taken, the channels cancel each other": scanned.channel is not None,
        f"its header promises {scanned.missing_s:.3f} s more": scanned.missing_s,
        "silent": scanned.silent,
    }
    return {
        "seconds": scanned.seconds,
        "events": [
            {
                "word": corpus.words[event.word],
                "start_s": round(start_s, 3),
                "end_s": round(min(end_s, scanned.seconds), 3),
                "probability": event.probability,
            }
            for event in detect.events
            for start_s, end_s in [event.span(corpus.clip_seconds)]
        ],
        "remarks": "; ".join(text for text, holds in remarks.items() if holds),
    }


def _print(answer: dict[str, Any], threshold: float) -> None:
    name = answer["file"]
    if "error" in answer:
        print_error(f"{name} {answer['error']}")
        return
    remarks = f"  ({answer['remarks']})" if answer["remarks"] else ""
    if "word" in answer:
        runner_up = answer["runner_up"]
        say(
            f"{name}: {answer['word']} {answer['probability']:.1%}, then {runner_up['word']} "
            f"{runner_up['probability']:.1%}{remarks}"
        )
        return
    found = counted(len(answer["events"]), "word") if answer["events"] else "no word"
    say(f"{name}: {found} of at least {threshold:.1%} in {answer['seconds']:.1f} s{remarks}")
    for event in answer["events"]:
        say(f"  {event['start_s']:8.2f} to {event['end_s']:.2f} s  {event['word']} {event['probability']:.1%}")
