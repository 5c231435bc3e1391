"""Progress a person can follow: a bar with rate and time left on a terminal, nothing elsewhere."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

Advance = Callable[[int], None]
Unit = Literal["clips", "bytes"]


class _Rate(ProgressColumn):
    """Clips or megabytes a second."""

    def __init__(self, unit: Unit) -> None:
        super().__init__()
        self._unit = unit

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        if not speed:
            return Text("")
        return Text(f"{speed / 1e6:,.0f} MB/s" if self._unit == "bytes" else f"{speed:,.0f} clips/s", style="cyan")


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
    console = Console(file=sys.stderr)
    done = DownloadColumn() if unit == "bytes" else MofNCompleteColumn()
    columns = (TextColumn(what), BarColumn(bar_width=24), done, _Rate(unit), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.advance(task, done)
