"""Progress a person can follow: a bar with rate and time left on a terminal, nothing elsewhere."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

Advance = Callable[[int], None]
Unit = Literal["clips", "bytes"]


@contextmanager
def progress(what: str, total: int | None, unit: Unit = "clips") -> Iterator[Advance]:
    """Show how far a step over clips has come.

    Parameters
    ----------
    what : str
        The step, in a word or two.
    total : int
        How many clips or bytes it takes in all; None where nobody knows.
    unit : {"clips", "bytes"}

    Yields
    ------
    callable
        To be told how many more are done; may be called from any thread.
    """
    if not sys.stderr.isatty():
        yield lambda done: None
        return
    from pipeline.shell.bar import bar  # imported for people only: it takes a tenth of what a cached set does

    with bar(what, total, unit) as advance:
        yield advance
