"""Recordings to clips: every file of a folder or archive is read once, by several processes, and accounted for.

Memory does not grow with the source: clips go to files as they are made, and a journal on disk holds a line for each
file.
"""

import multiprocessing
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from features.audio.clips import Cut, Treatment, prepare
from features.audio.decode import RecordingError
from features.corpus import Corpus
from features.errors import InputError
from features.sources.files import File, is_system_file, load, read_files
from features.sources.naming import LISTS, Name, Table, inside, is_noise, name_of, read_lists, root_of

AUDIO = frozenset((
    "aif", "aifc", "aiff", "au", "avr", "caf", "flac", "htk", "ircam", "mp3", "nist", "oga", "ogg", "opus", "paf",
    "pvf", "rf64", "sd2", "sds", "snd", "sph", "svx", "voc", "w64", "wav", "wave", "wve",
))  # fmt: skip
"""Endings of files that libsndfile reads."""
OTHER_AUDIO = frozenset((
    "3gp", "aac", "ac3", "amr", "ape", "dss", "m4a", "m4b", "mka", "mp4", "mpga", "ra", "webm", "wma", "wv",
))  # fmt: skip
"""Endings of recordings that libsndfile does not read."""
DEFAULT_SPEAKER = "nohash"
LISTED = 5
"""How many words an error names before it only counts."""
BATCH_FILES = 64
BATCH_BYTES = 8 << 20
"""Files and bytes that a process is given at once."""


Other = Literal["refuse", "unknown", "leave-out", "own"]
"""What to do with a word that the corpus does not name."""


@dataclass(frozen=True, kw_only=True)
class Rules:
    """How to name recordings, and what to take of them."""

    cut: Cut = "loudest"
    other: Other = "refuse"
    speaker: str = DEFAULT_SPEAKER
    table: Table | None = None


class Entry(Struct, omit_defaults=True):
    """What became of one file."""

    path: str
    why: str = ""
    """Why it gives no clip."""
    refused: bool = False
    """Whether that stops the import, unless such files are to be left out."""
    same_as: str = ""
    """The earlier file that it is a hard link to."""
    part: int = 0
    """Number of the file that its clips are in."""
    first: int = 0
    """Its first clip there."""
    clips: int = 0
    treatment: Treatment = Treatment()
    word: str = ""
    speaker: str = ""
    set: str = ""


class Journal:
    """Entries on disk, in order."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._encoder = msgspec.json.Encoder()
        self._decoder = msgspec.json.Decoder(Entry)

    def write(self, entries: Iterable[Entry]) -> None:
        """Write all entries, in place of any that are there."""
        with open(self._path, "wb") as file:
            for entry in entries:
                file.write(self._encoder.encode(entry) + b"\n")

    def __iter__(self) -> Iterator[Entry]:
        with open(self._path, "rb") as file:
            for line in file:
                yield self._decoder.decode(line)


def read_recordings(
    source: Path,
    scratch: Path,
    corpus: Corpus,
    rules: Rules,
    *,
    workers: int,
    advance: Callable[[int], None] = lambda files: None,
    warn: Callable[[str], None] = lambda line: None,
) -> Journal:
    """Read every recording of a folder or archive once, and make clips of it.

    Parameters
    ----------
    source : Path
        As :func:`~features.sources.files.read_files` takes it.
    scratch : Path
        Folder for the journal and for clips, which take as much room as in the npz; the caller's to remove.
    corpus : Corpus
    rules : Rules
    workers : int
        Processes.
    advance : callable
        Called with the number of files just finished.
    warn : callable
        Called with a sentence about the archive.

    Returns
    -------
    Journal
        An entry for every file that was found.

    Raises
    ------
    InputError
        If the source cannot be read, or has words that the corpus does not name and the rules refuse.
    """
    lists: dict[str, bytes] = {}
    found, named = Journal(scratch / "found"), Journal(scratch / "named")
    files = _apart(read_files(source, why_not, warn), lists)
    found.write(_made(files, scratch, corpus, rules.cut, workers, advance))
    named.write(_named(found, corpus, rules, lists))
    if rules.other == "refuse":
        words = Counter(entry.word for entry in named if entry.clips and entry.word not in corpus.words)
        if words:
            counts = ", ".join(f"{word} ({count})" for word, count in sorted(words.items())[:LISTED])
            more = f" and {len(words) - LISTED} more" if len(words) > LISTED else ""
            raise InputError(
                f"{source} has words that corpus.words in params.yaml does not name: {counts}{more}; expected "
                f"{', '.join(corpus.words)}, so add them there, or choose --other unknown, leave-out or own"
            )
    if rules.speaker != DEFAULT_SPEAKER and not rules.table:
        _refuse_idle_rule(source, rules.speaker, named)
    return named


def _refuse_idle_rule(source: Path, speaker: str, named: Journal) -> None:
    """Refuse a rule for speakers that finds no speaker in any recording."""
    paths = [entry.path for entry in named if entry.clips and not is_noise(entry.path) and entry.word != "silence"]
    if paths and not any(entry.speaker for entry in named):
        raise InputError(
            f"--speaker {speaker!r} names the speaker of none of the {len(paths):,} recordings in {source}, such as "
            f"{paths[0]}; expected folder, or a regular expression for such paths whose group is the speaker"
        )


def why_not(path: str) -> str:
    """Why a file is no recording, by its name; an empty text if it is one, or a published list.

    Examples
    --------
    >>> why_not("yes/A.WAV"), why_not("yes/notes.txt"), why_not("../../etc/a.wav")
    ('', 'is not audio', 'has a path that leaves its archive')
    """
    if is_system_file(path):
        return "is an operating system's own file"
    if path.startswith("/") or ".." in path.split("/"):
        return "has a path that leaves its archive"
    return "" if _ending(path) in AUDIO | OTHER_AUDIO or _name_in(path) in LISTS else "is not audio"


def _ending(path: str) -> str:
    return _name_in(path).rpartition(".")[2].lower()


def _name_in(path: str) -> str:
    return path.rpartition("/")[2]


def _apart(files: Iterable[File], lists: dict[str, bytes]) -> Iterator[File]:
    """Keep the contents of published lists, and pass all files on."""
    for file in files:
        if not file.why and _name_in(file.path) in LISTS:
            lists[file.path] = load(file) or b""
            yield File(file.path, why="is a list of the published split")
        else:
            yield file


def _made(
    files: Iterable[File],
    scratch: Path,
    corpus: Corpus,
    cut: Cut,
    workers: int,
    advance: Callable[[int], None],
) -> Iterator[Entry]:
    """Prepare files in batches, on several processes; yield what became of each, in order."""
    running: deque[tuple[list[File], Future[list[Entry]]]] = deque()
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:

        def finished() -> list[Entry]:
            batch, future = running.popleft()
            try:
                entries = future.result()
            except BrokenProcessPool:
                raise InputError(
                    f"a process died while it decoded one of the files {batch[0].path} to {batch[-1].path}, for lack "
                    "of memory or by a file that libsndfile cannot survive; leave out the faulty one or free memory"
                ) from None
            advance(len(batch))
            return entries

        for part, batch in enumerate(_batches(files)):
            running.append((batch, pool.submit(_prepare, batch, scratch / str(part), part, corpus, cut)))
            if len(running) > 2 * workers:
                yield from finished()
        while running:
            yield from finished()


def _batches(files: Iterable[File]) -> Iterator[list[File]]:
    batch: list[File] = []
    size = 0
    for file in files:
        batch.append(file)
        size += len(file.content or b"")
        if len(batch) == BATCH_FILES or size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _prepare(batch: list[File], target: Path, part: int, corpus: Corpus, cut: Cut) -> list[Entry]:
    """Write the clips of a batch to a file; runs in a process of its own."""
    entries = []
    with open(target, "wb") as out:
        for file in batch:
            entry = Entry(file.path, file.why, file.unusable, same_as=file.same_as)
            if not (file.why or file.same_as):
                ending = _ending(file.path)
                try:
                    content = load(file) or b""
                    if ending in OTHER_AUDIO:
                        raise RecordingError(f"is .{ending}, which libsndfile does not read; convert it to .wav")
                    clips, treatment = prepare(content, corpus, "noise" if is_noise(file.path) else cut)
                except RecordingError as error:
                    entry.why, entry.refused = str(error), True
                except OSError as error:
                    entry.why, entry.refused = f"cannot be read ({error.strerror})", True
                else:
                    entry.part, entry.first, entry.clips = part, out.tell() // clips[0].nbytes, len(clips)
                    entry.treatment = treatment
                    out.write(np.ascontiguousarray(clips, "<f4").data)
            entries.append(entry)
    return entries


def _named(found: Journal, corpus: Corpus, rules: Rules, lists: dict[str, bytes]) -> Iterator[Entry]:
    """Give every recording its word, speaker and set, or the reason why it is left out."""
    linked = {entry.same_as for entry in found if entry.same_as}
    originals = {entry.path: entry for entry in found if entry.path in linked}
    root = root_of((entry.path for entry in found if entry.clips or entry.same_as), corpus)
    published = read_lists(lists)
    for entry in found:
        if entry.same_as:
            original = originals.get(entry.same_as, Entry("", f"is a link to {entry.same_as}, which is not there"))
            entry = replace(original, path=entry.path, same_as=entry.same_as)
        if entry.clips:
            name = _name(entry.path, root, corpus, rules)
            entry.word, entry.speaker, entry.set, entry.why = name.word, name.speaker, name.set, name.why
            if published and not entry.set:
                entry.set = published.get("/".join(inside(entry.path, root)), "" if is_noise(entry.path) else "train")
            if entry.why:
                entry.clips = 0
        yield entry


def _name(path: str, root: list[str], corpus: Corpus, rules: Rules) -> Name:
    if rules.table and not is_noise(path):
        name = rules.table.find(path) or Name(why="is not in the table")
    else:
        name = name_of(path, root, corpus, rules.speaker)
    if name.why or name.word in corpus.words:
        return name
    if name.word == "silence":
        return Name(why="is silence, which is not among the words")
    if rules.other == "leave-out":
        return Name(why=f"is of another word, {name.word}")
    return Name("unknown", name.speaker, name.set) if rules.other == "unknown" else name
