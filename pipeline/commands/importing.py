"""What both import commands do: recordings to an npz, and an account of each file beside it."""

import csv
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import typer

from features.corpus import Corpus, Recording
from features.errors import InputError
from features.sources.clips import SETS, Clips, arrange
from features.sources.naming import is_noise
from features.sources.npz_columns import listed, printable
from features.sources.npz_writer import write_npz
from features.sources.recordings import Entry, Rules, read_recordings
from features.store.publish import publish, refuse_existing
from pipeline.shell.params import read_section
from pipeline.shell.progress import progress
from pipeline.shell.stage import counted, default_workers, say, warn, warn_waiting

LISTED = 5
WORKERS = default_workers()

Source = Annotated[Path, typer.Argument(help="A folder of recordings, a .zip or a .tar.gz.")]
Out = Annotated[
    Path, typer.Argument(metavar="OUT.npz", help="The npz to write, with an account of each file beside it.")
]
Cutting = Annotated[
    Literal["loudest", "start", "windows"],
    typer.Option(help="Of a recording longer than a clip take the loudest part, the start, or all windows."),
]
SkipBad = Annotated[bool, typer.Option("--skip-bad", help="Leave out recordings that cannot be used.")]
Force = Annotated[bool, typer.Option("--force", help="Replace OUT.npz if it is a file.")]
Workers = Annotated[int, typer.Option(envvar="WORKERS", min=1, help="Processes.")]


def import_npz(
    source: Path,
    out: Path,
    rules_of: Callable[[Corpus], Rules],
    *,
    skip_bad: bool,
    force: bool,
    workers: int,
) -> None:
    """Write the recordings of a folder or archive to an npz, and what became of each file to a TSV beside it.

    Raises
    ------
    InputError
        If the source cannot be read, holds nothing to learn from, or, unless they are to be skipped, files that cannot
        be used.
    """
    corpus = read_section("corpus", Corpus)
    rules = rules_of(corpus)
    if not out.name:
        raise InputError(f"{out} is a folder; expected a file to write, such as recordings.npz")
    account = out.with_suffix(".tsv")
    if out.exists() and source.exists() and out.samefile(source):
        raise InputError(f"{out} is the source itself; expected another file to write, so choose another name")
    guard = partial(refuse_existing, force=force)
    with publish(out, account, guard=guard, waiting=warn_waiting) as (npz, tsv):
        scratch = npz.with_name("clips")
        scratch.mkdir()
        with progress("importing", None, "files") as advance:
            journal = read_recordings(source, scratch, corpus, rules, workers=workers, advance=advance, warn=warn)
        refused = [entry for entry in journal if entry.refused]
        if refused and not skip_bad:
            shown = "; ".join(f"{entry.path} {entry.why}" for entry in refused[:LISTED])
            more = f"; and {len(refused) - LISTED} more" if len(refused) > LISTED else ""
            raise InputError(
                f"{counted(len(refused), 'file')} of {source} cannot be used: {shown}{more}; repair or remove them, or "
                "leave them out with --skip-bad"
            )
        clips = arrange(journal, corpus)
        if not len(clips.word):
            raise InputError(
                f"{source} gives no clip ({_summary(journal)}); expected recordings in a folder for each word, such as "
                f"{corpus.words[0]}/1.wav"
            )
        with progress("writing", len(clips.word)) as advance:
            write_npz(npz, len(clips.word), _recordings(clips, scratch, corpus), corpus, advance=advance)
        _write_account(tsv, journal, clips)
        remarks = list(_remarks(journal, clips, corpus))
    for line in remarks:
        say(line)
    counts = np.bincount(clips.word, minlength=len(clips.words))
    words = ", ".join(f"{word} {count}" for word, count in zip(clips.words, counts, strict=True))
    say(f"import: {len(clips.word)} clips ({words}) -> {out}; what became of each file: {account}")


def _recordings(clips: Clips, scratch: Path, corpus: Corpus) -> Iterator[Recording]:
    """Read clips from where they were put aside, in the order of the npz."""
    samples = corpus.clip_samples
    columns = zip(clips.word, clips.group, clips.set, clips.place, clips.recordings, strict=True)
    for word, group, number, (part, at), recording in columns:
        clip = np.fromfile(scratch / str(part), "<f4", samples, offset=4 * int(at) * samples)
        published = SETS[number] if number >= 0 else ""
        yield Recording(clip, clips.words[word], clips.groups[group], published, recording)


def _write_account(path: Path, journal: Iterable[Entry], clips: Clips) -> None:
    """Write a line for each file: what became of it, and the row in the npz of its first clip."""
    first_row = dict(zip(*(found.tolist() for found in np.unique(clips.entry, return_index=True)), strict=True))
    with open(path, "w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        writer = csv.writer(file, "excel-tab", lineterminator="\n")
        writer.writerow(["path", "outcome", "clips", "word", "speaker", "set", "remarks", "row"])
        for number, entry in enumerate(journal):
            outcome = "taken" if entry.clips else "unusable" if entry.refused else "skipped"
            said = entry.why or str(entry.treatment)
            cells = (entry.path, outcome, str(entry.clips), entry.word, entry.speaker, entry.set, said)
            writer.writerow([*map(printable, cells), first_row.get(number, "")])


def _summary(journal: Iterable[Entry]) -> str:
    """Why files were left out, and how many: ``3 files: 2 is not audio, ...``."""
    reasons = Counter(entry.why for entry in journal if not entry.clips)
    return ", ".join(f"{why}: {count}" for why, count in reasons.most_common(LISTED)) or "no file"


def _remarks(journal: Iterable[Entry], clips: Clips, corpus: Corpus) -> Iterator[str]:
    """What became of the files, in a few lines whose numbers add up."""
    count: Counter[str] = Counter()
    why: Counter[str] = Counter()
    padded = []
    for entry in journal:
        count["files"] += 1
        if not entry.clips:
            why[entry.why] += 1
            continue
        done = entry.treatment
        count["taken"] += 1
        count["resampled"] += bool(done.resampled_from_hz)
        count["cut"] += bool(done.cut_from_s)
        count["one channel of several taken, because they cancel each other"] += done.channel is not None
        count["shorter than their headers say"] += bool(done.missing_s)
        count["scaled down, because they went beyond full scale"] += done.scaled_by < 1
        count["silent"] += done.silent and entry.word != "silence"
        if done.padded_s:
            padded.append(done.padded_s)
    found, taken = count.pop("files", 0), count.pop("taken", 0)
    yield f"files: {found} found, {taken} taken, {found - taken} left out"
    if why:
        kinds = [f"{reason} ({number})" for reason, number in why.most_common(LISTED)]
        yield f"left out: {'; '.join(kinds)}{f'; and {len(why) - LISTED} other reasons' if len(why) > LISTED else ''}"
    done_to = [f"{number} {what}" for what, number in count.items() if number]
    if padded:
        done_to.append(f"{len(padded)} padded by {min(padded):.3f} to {max(padded):.3f} s")
    if done_to:
        yield f"taken: {'; '.join(done_to)}"
    speakers = len({group for group in clips.groups if group})
    unknown = int((np.array(clips.groups)[clips.group] == "").sum()) if clips.groups else 0
    if unknown:
        yield (
            f"speakers: unknown of {counted(unknown, 'clip')}, so nobody can promise that a test set holds unheard "
            "voices; name speakers with --speaker or --table where you can"
        )
    else:
        noise = "silence" in clips.words  # its groups are recordings of noise, not people
        things = ("speaker or stretch of noise", "speakers or stretches of noise") if noise else ("speaker",)
        names = listed(sorted(group for group in clips.groups if group and not is_noise(group)))
        yield f"speakers: {counted(speakers, *things)}{names and f': {names}'}"
    absent = [word for word in corpus.words if word not in clips.words]
    if absent:
        yield f"words without a clip: {', '.join(absent)}"
