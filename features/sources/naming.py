"""Who says what in a recording: its word, speaker and set, from its path or from a table."""

import csv
import io
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from features.corpus import Corpus
from features.errors import InputError

NOISE_FOLDER = "_background_noise_"
"""Folder of long recordings that clips of ``silence`` are cut from; as in Speech Commands."""
LISTS = {"testing_list.txt": "test", "validation_list.txt": "validation"}
"""Speech Commands' published split: files that hold a path a line."""
SETS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}
"""Names of a set, in folders and tables."""
NOHASH = re.compile(r"(?:^|[/_])(?P<speaker>[0-9a-f]+)_nohash_\d+[^/]*$")
"""The speaker in a file name of Speech Commands, ``<speaker>_nohash_<take>.wav``."""
COLUMNS = {
    "path": ("path", "file_name", "filename", "file", "link"),
    "word": ("word", "label", "sentence", "text", "transcription", "keyword"),
    "speaker": ("speaker", "speaker_id", "client_id"),
    "set": ("set", "split"),
}
"""Headings of a table: ours, and those of Common Voice, MSWC and Hugging Face's audiofolder."""


@dataclass(frozen=True, slots=True)
class Name:
    """What is known of a recording."""

    word: str = ""
    """As the folder or table spells it; see :func:`spelled`."""
    speaker: str = ""
    """Empty if unknown."""
    set: str = ""
    """``train``, ``validation`` or ``test``; empty if nothing is published."""
    why: str = ""
    """Why it has no name."""


def spelled(word: str, corpus: Corpus) -> str:
    """The corpus's spelling of a word, blind to case, to spaces around it and to how accents are encoded.

    Examples
    --------
    >>> spelled("Yes ", Corpus()), spelled("_silence_", Corpus()), spelled("marvin", Corpus())
    ('yes', 'silence', 'marvin')
    """
    plain = unicodedata.normalize("NFC", word).strip()
    known = {each.casefold(): each for each in corpus.words}
    return known.get(plain.casefold()) or known.get(plain.strip("_").casefold()) or plain


def parts_of(path: str) -> list[str]:
    """Folders and name of a path, without what leads out of its archive."""
    spelled_out = path if path.isascii() else unicodedata.normalize("NFC", path)
    return [part for part in spelled_out.split("/") if part not in ("", ".", "..")]


def inside(path: str, root: Sequence[str]) -> list[str]:
    """Folders and name of a path below the root."""
    return parts_of(path)[len(root) :]


def is_noise(path: str) -> bool:
    """Whether a recording is background noise, by its path."""
    return f"/{NOISE_FOLDER}/" in f"/{path}"


def root_of(paths: Iterable[str], corpus: Corpus) -> list[str]:
    """Folders that all paths have in common and that name no word, as archives have one around all others.

    Examples
    --------
    >>> root_of(["corpus/v2/yes/a.wav", "corpus/v2/bird/b.wav"], Corpus())
    ['corpus', 'v2']
    >>> root_of(["yes/a.wav"], Corpus())
    []
    """
    common: list[str] | None = None
    for path in paths:
        folders = parts_of(path)[:-1]
        if common is None:
            common = folders[:-1]  # the last folder of a path is its word
        else:
            same = [a == b for a, b in zip(common, folders, strict=False)]
            common = common[: same.index(False) if False in same else len(same)]
    root = []
    for folder in common or []:
        if folder == NOISE_FOLDER or spelled(folder, corpus) in corpus.words:
            break
        root.append(folder)
    return root


def name_of(path: str, root: Sequence[str], corpus: Corpus, speaker: str) -> Name:
    """Name a recording by its path: ``[set/]word/[folders/]file``.

    Parameters
    ----------
    path : str
    root : sequence of str
        Folders to leave out at the start; see :func:`root_of`.
    corpus : Corpus
    speaker : str
        ``nohash``: by Speech Commands' file names. ``folder``: the folders between the word's and the file.
        Else a regular expression on the path, whose group ``speaker``, or first group, names the speaker.

    Examples
    --------
    >>> name_of("yes/0a7c2a8d_nohash_1.wav", [], Corpus(), "nohash")
    Name(word='yes', speaker='0a7c2a8d', set='', why='')
    >>> name_of("train/Stop/anna/3.wav", [], Corpus(), "folder")
    Name(word='stop', speaker='anna', set='train', why='')
    """
    *folders, file = inside(path, root)
    if is_noise(path):
        return Name("silence")
    published = ""
    if len(folders) > 1 and folders[0].lower() in SETS and spelled(folders[0], corpus) not in corpus.words:
        published = SETS[folders.pop(0).lower()]
    if not folders:
        return Name(why="lies in no word's folder")
    if speaker == "folder":
        who = "/".join(folders[1:])
    else:
        found = re.search(NOHASH if speaker == "nohash" else speaker, "/".join([*folders, file]))
        who = (found["speaker"] if "speaker" in found.re.groupindex else found[1]) or "" if found else ""
    return Name(spelled(folders[0], corpus), who, published)


def parse_speaker(pattern: str) -> str:
    """Check a rule for speakers, as :func:`name_of` takes it.

    Raises
    ------
    InputError
        If it is no regular expression with a group.
    """
    try:
        if pattern in ("nohash", "folder") or re.compile(pattern).groups:
            return pattern
        why = "it has no group in parentheses"
    except re.error as error:
        why = str(error)
    raise InputError(
        f"--speaker {pattern!r} cannot be used ({why}); expected nohash, folder, or a regular expression on the path "
        "whose group is the speaker, such as '([^/]+)_[0-9]+[.]wav'"
    )


def read_lists(contents: dict[str, bytes]) -> dict[str, str]:
    """Read published lists, by their paths: the set of each recording's path below the root."""
    return {
        "/".join(parts_of(line.strip())): LISTS[PurePosixPath(name).name]
        for name, content in contents.items()
        for line in content.decode("utf-8", "replace").splitlines()
        if line.strip()
    }


@dataclass(frozen=True)
class Table:
    """A table of recordings: name by path."""

    path: Path
    names: dict[str, Name]
    by_file: dict[str, list[str]]
    """Paths of the table by their last part."""

    @classmethod
    def read(cls, path: Path, corpus: Corpus) -> "Table":
        """Read a CSV or TSV with a heading; columns are those of :data:`COLUMNS`, ``path`` and ``word`` at least.

        Raises
        ------
        InputError
            If it cannot be read, lacks a column, names a path twice or an unknown set.
        """
        try:
            text = path.read_text("utf-8-sig")
        except (OSError, UnicodeError) as error:
            raise InputError(f"{path} cannot be read as a table ({error}); expected CSV or TSV in UTF-8") from None
        heading = text.partition("\n")[0]
        rows = csv.DictReader(io.StringIO(text, newline=""), delimiter=max("\t,;", key=heading.count))
        given = {(name or "").strip().lower(): name for name in rows.fieldnames or ()}
        columns = {
            ours: next((given[name] for name in names if name in given), None) for ours, names in COLUMNS.items()
        }
        if not (columns["path"] and columns["word"]):
            raise InputError(
                f"{path} has the columns {', '.join(given) or '(none)'}; expected path and word, and, if known, "
                "speaker and set, so name them in its first line"
            )
        names: dict[str, Name] = {}
        for line, row in enumerate(rows, 2):
            cell = {ours: (row[theirs] or "").strip() if theirs else "" for ours, theirs in columns.items()}
            published = SETS.get(cell["set"].lower(), "")
            if cell["set"] and not published:
                raise InputError(
                    f"line {line} of {path} names the set {cell['set']!r}; expected train, validation or test"
                )
            key = "/".join(parts_of(cell["path"]))
            if key in names:
                raise InputError(f"line {line} of {path} names {cell['path']} a second time; expected each file once")
            names[key] = Name(spelled(cell["word"], corpus), cell["speaker"], published)
        by_file: dict[str, list[str]] = {}
        for key in names:
            by_file.setdefault(key.rpartition("/")[2], []).append(key)
        return cls(path, names, by_file)

    def find(self, path: str) -> Name | None:
        """Look a file up by its path, or by the longest end of it that the table has."""
        parts = parts_of(path)
        whole = "/".join(parts)
        matching = [key for key in self.by_file.get(parts[-1] if parts else "", ()) if f"/{whole}".endswith(f"/{key}")]
        return self.names[max(matching, key=len)] if matching else None
