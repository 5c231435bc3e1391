"""Command ``models predict``: the words in recordings."""

import json
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
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
from models.quiet import quiet
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
class Recording:
    """A recording to listen to."""

    name: str
    """As it was given."""
    path: Path
    error: str = ""
    """Why it cannot be heard, to follow its name."""


@dataclass(frozen=True)
class Heard:
    """A recording that was read: one clip, or a long recording that was gone through once."""

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
            help="Name of a trained network, or path of an exported one; by default the one with the highest "
            "validation accuracy.",
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
    if not 0 <= limit <= 1:
        raise InputError(f"--threshold is {limit}; expected a probability, from 0 to 1")
    if microphone:
        listen(network, limit)
        return
    answers = []
    failed = False
    with tempfile.TemporaryDirectory(prefix="recordings-") as folder:
        for answer in _answers(_recordings(files or [], Path(folder)), network, limit):
            failed = failed or "error" in answer
            if as_json:
                answers.append(answer)
            else:
                _print(answer, limit)
    if as_json:
        say(json.dumps({"model": network.name, "threshold": limit, "files": answers}, indent=2, ensure_ascii=False))
    if failed:
        raise typer.Exit(USAGE)


def _recordings(files: Iterable[str], spool: Path) -> Iterator[Recording]:
    """All recordings, with those in folders; pipes are copied to temporary files, because audio is read twice."""
    for number, name in enumerate(files):
        path = Path(name)
        try:
            if name == STDIN or path.is_fifo():
                copy = spool / str(number)
                opening = nullcontext(sys.stdin.buffer) if name == STDIN else path.open("rb")
                with opening as given, copy.open("wb") as file:
                    shutil.copyfileobj(given, file)
                yield Recording(name, copy)
            elif name and path.is_dir():
                yield from _in_folder(path)
            elif name and (path.is_file() or not path.exists()):
                yield Recording(name, path)
            else:
                yield Recording(name, path, f"is {'a device' if name else 'no name'}; expected a recording")
        except OSError as error:
            yield Recording(name, path, f"cannot be read ({error.strerror}); expected a recording or a folder of them")


def _in_folder(folder: Path) -> Iterator[Recording]:
    found = left_out = 0
    for file in read_files(folder, why_not):
        if file.on_disk or file.unusable:
            found += 1
            path = folder / file.path
            yield Recording(str(path), path)
        else:
            left_out += 1
    if left_out:
        warn(f"{counted(left_out, 'file')} in {folder} left out: no recordings")
    if not found:
        yield Recording(str(folder), folder, "holds no recording; expected audio files, such as .wav or .mp3")


def _answers(recordings: Iterator[Recording], network: Network, threshold: float) -> Iterator[dict[str, Any]]:
    """What each recording holds, in order."""
    classify: Classify | None = None
    corpus = network.corpus
    with ThreadPoolExecutor(default_workers()) as pool:
        while batch := list(islice(recordings, BATCH_FILES)):
            with quiet():  # libsndfile's mp3 decoder prints what it finds
                heard = list(pool.map(lambda recording: _hear(recording, corpus), batch))
            if classify is None and not all(each.error for each in heard):
                classify = network.load()
            clips = [each.clip for each in heard if each.clip is not None]
            words = iter(classify(np.stack(clips)) if classify and clips else ())
            for recording, each in zip(batch, heard, strict=True):
                answer: dict[str, Any] = {"file": recording.name}
                if each.clip is not None:
                    answer |= _word(next(words), each.treatment, corpus)
                elif each.scanned and classify:
                    answer |= _events(recording, each.scanned, corpus, classify, threshold)
                else:
                    answer["error"] = each.error
                yield answer


def _hear(recording: Recording, corpus: Corpus) -> Heard:
    if recording.error:
        return Heard(error=recording.error)
    try:
        with open(recording.path, "rb") as file:
            with opened(file) as sound:
                seconds = sound.frames / sound.samplerate
            file.seek(0)
            if seconds > SHORT_CLIPS * corpus.clip_seconds:
                return Heard(scanned=scan(file))
            clips, treatment = prepare(file.read(), corpus, "loudest")
            return Heard(clip=clips[0], treatment=treatment)
    except RecordingError as error:
        return Heard(error=f"{error}; expected a recording such as a .wav, .flac, .ogg or .mp3 file")
    except FileNotFoundError:
        return Heard(error="does not exist; expected a recording, a folder of them, or -")
    except OSError as error:
        return Heard(error=f"cannot be read ({error.strerror or error}); expected a recording")


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


def _events(
    recording: Recording,
    scanned: Scan,
    corpus: Corpus,
    classify: Classify,
    threshold: float,
) -> dict[str, Any]:
    """Find words in a long recording."""
    average, detect = Averager(), Detector(threshold, background_of(corpus.words))
    hop = max(1, round(corpus.clip_samples / WINDOWS_PER_CLIP))
    total = int(scanned.seconds / corpus.clip_seconds * WINDOWS_PER_CLIP)
    with open(recording.path, "rb") as file, progress(f"listening to {recording.name}", total, "windows") as advance:
        for batch in windows(_quietly(blocks(file, scanned, corpus.sample_rate_hz)), corpus.clip_samples, hop):
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


def _quietly(sound: Iterator[NDArray[np.float32]]) -> Iterator[NDArray[np.float32]]:
    while True:
        with quiet():
            block = next(sound, None)
        if block is None:
            return
        yield block


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
