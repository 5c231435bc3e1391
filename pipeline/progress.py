"""Progress a person can follow: a bar with rate and time left on a terminal, nothing elsewhere."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

Advance = Callable[[int], None]


class _Rate(ProgressColumn):
    """Clips a second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:,.0f} clips/s" if speed else "", style="cyan")


@contextmanager
def progress(what: str, clips: int | None) -> Iterator[Advance]:
    """Show how far a step over clips has come.

    Parameters
    ----------
    what : str
        The step, in a word or two.
    clips : int
        How many clips it takes in all; None where nobody knows.

    Yields
    ------
    callable
        To be told how many more clips are done; may be called from any thread.
    """
    console = Console(file=sys.stderr)
    columns = (TextColumn(what), BarColumn(bar_width=24), MofNCompleteColumn(), _Rate(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=clips)
        yield lambda done: bar.advance(task, done)
