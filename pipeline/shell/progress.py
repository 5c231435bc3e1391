"""Progress a person can follow: a bar with rate and time left on a terminal, nothing elsewhere."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

Advance = Callable[[int], None]
Unit = Literal["clips", "files", "windows", "bytes"]


@contextmanager
def progress(what: str, total: int | None, unit: Unit = "clips") -> Iterator[Advance]:
    """Show how far a step has come: call what this yields with the number just finished, from any thread.

    ``total`` is None if it is unknown.
    """
    if not sys.stderr.isatty():
        yield lambda done: None
        return
    from rich import progress as rich  # loaded for a terminal only
    from rich.console import Console

    amount = rich.DownloadColumn() if unit == "bytes" else rich.MofNCompleteColumn()
    columns = ("{task.description}", rich.BarColumn(bar_width=24), amount, "{task.fields[rate]}")
    console = Console(file=sys.stderr)
    with rich.Progress(*columns, rich.TimeRemainingColumn(), console=console, transient=True) as bar:
        number = bar.add_task(what, total=total, rate="")
        (task,) = bar.tasks

        def advance(done: int) -> None:
            bar.advance(number, done)
            speed = task.speed or 0
            bar.update(number, rate=f"{speed / 1e6:,.0f} MB/s" if unit == "bytes" else f"{speed:,.0f} {unit}/s")

        yield advance
