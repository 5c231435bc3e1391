"""Marks that a person gives to clips while leafing through them, in a small text file."""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.errors import InputError
from features.store.publish import publish

MARKS = ("keep", "wrong label", "bad audio")
COLUMNS = ("digest", "word", "row", "mark")


@dataclass(frozen=True)
class Mark:
    """What a person says of a clip, known by its samples and its word.

    Raises
    ------
    ValueError
        If the digest, the row or the mark is not what it is to be.
    """

    digest: str
    """BLAKE2b of the float32 samples as 32 hexadecimal digits, the same as in a store's ``digest``."""
    word: str
    row: int
    """Row of the npz when the clip was marked; for people only."""
    mark: str
    """One of :data:`MARKS`."""

    def __post_init__(self) -> None:
        if not re.fullmatch("[0-9a-f]{32}", self.digest):
            raise ValueError(f"the digest is {self.digest!r}; expected 32 hexadecimal digits")
        if self.row < 0:
            raise ValueError(f"the row is {self.row}; expected 0 or more")
        if self.mark not in MARKS:
            raise ValueError(f"the mark is {self.mark!r}; expected one of {', '.join(MARKS)}")


Marks = dict[tuple[str, str], Mark]
"""Marks by digest and word: a clip keeps its mark in another row, and loses it with another label."""


def read_marks(path: Path) -> Marks:
    r"""Read the marks in a file; a missing or empty file holds none.

    Parameters
    ----------
    path : Path
        UTF-8, tab separated as Excel writes it, with the header ``digest word row mark``.

    Raises
    ------
    InputError
        If a line is not a mark, or marks a clip again.

    Examples
    --------
    >>> read_marks(Path("/nowhere/marks.tsv"))
    {}
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return {}
    if not content.strip():
        return {}
    marks: Marks = {}
    line = 1
    try:
        rows = csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), "excel-tab", strict=True)
        header = next(rows, [])
        if header != list(COLUMNS):
            raise ValueError(f"the header is {' '.join(header)!r}; expected {_described(COLUMNS)}")
        line = rows.line_num + 1
        for fields in rows:
            if fields:  # not an empty line
                mark = _parse(fields)
                if (mark.digest, mark.word) in marks:
                    raise ValueError("an earlier line marks the same clip; expected one mark for each")
                marks[mark.digest, mark.word] = mark
            line = rows.line_num + 1
    except UnicodeDecodeError as error:
        line += content.count(b"\n", 0, error.start)
        raise _refusal(path, line, "it is not UTF-8 text; expected a file saved as UTF-8") from None
    except (ValueError, csv.Error) as error:
        raise _refusal(path, line, str(error)) from None
    return marks


def save_mark(path: Path, mark: Mark) -> None:
    """Write a mark into the file, in place of an earlier one of the same clip.

    Raises
    ------
    InputError
        If the file cannot be read as marks; it stays as it is.
    """
    with _editing(path) as marks:
        marks[mark.digest, mark.word] = mark


def remove_mark(path: Path, digest: str, word: str) -> None:
    """Take the mark of a clip, if it has one, out of the file; raises as :func:`save_mark`."""
    with _editing(path) as marks:
        marks.pop((digest, word), None)


def find_marked(
    marks: Marks, digests: NDArray[np.void], labels: NDArray[np.integer[Any]], words: Sequence[str]
) -> dict[int, Mark]:
    """Find the rows of an npz that are marked; copies with the same word are all of them.

    Parameters
    ----------
    marks : dict
    digests : V16 array, shape (clips,)
    labels : integer array, shape (clips,)
        Positions in ``words``.

    Returns
    -------
    dict
        Marks by row, in the order of rows.

    Examples
    --------
    >>> mark = Mark("00" * 16, "no", 7, "keep")
    >>> digests = np.zeros(3, "V16")
    >>> list(find_marked({(mark.digest, "no"): mark}, digests, np.array([1, 0, 1]), ["yes", "no"]))
    [0, 2]
    """
    clips = enumerate(zip(digests.tolist(), labels.tolist(), strict=True))
    found = {row: marks.get((digest.hex(), words[label])) for row, (digest, label) in clips}
    return {row: mark for row, mark in found.items() if mark}


def _parse(fields: list[str]) -> Mark:
    if len(fields) != len(COLUMNS):
        raise ValueError(f"it has {len(fields)} columns; expected {_described(COLUMNS)}")
    digest, word, row, mark = fields
    if not re.fullmatch("[0-9]{1,18}", row):
        raise ValueError(f"the row is {row!r}; expected a whole number")
    return Mark(digest, word, int(row), mark)


def _described(columns: Sequence[str]) -> str:
    return f"{', '.join(columns[:-1])} and {columns[-1]} with tabs between them"


def _refusal(path: Path, line: int, problem: str) -> InputError:
    return InputError(f"{path}, line {line}: {problem}, so correct the line or undo the edit with git")


@contextmanager
def _editing(path: Path) -> Iterator[Marks]:
    """Give the marks in a file, and write them back as they are at the end; one process or thread at a time."""
    with publish(path) as (staged,):
        marks = read_marks(path)
        yield marks
        # csv cannot read a carriage return that is not quoted, and quotes it only if lines end in one.
        returns = any("\r" in mark.word for mark in marks.values())
        with staged.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(
                file, "excel-tab", lineterminator="\n", quoting=csv.QUOTE_ALL if returns else csv.QUOTE_MINIMAL
            )
            writer.writerow(COLUMNS)
            for mark in sorted(marks.values(), key=lambda mark: (mark.word, mark.row, mark.digest)):
                writer.writerow((mark.digest, mark.word, mark.row, mark.mark))
