"""Progress a person can follow: a bar with rate and time left on a terminal, a line now and then elsewhere."""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

Advance = Callable[[int], None]
Unit = Literal["clips", "files", "windows", "bytes"]
FIRST_S = 4.0
"""Seconds until the first line where there is no terminal."""
NEXT_S = 5.0
"""Seconds until the next one; later a twentieth of the time so far."""


class Bar:
    """How far a step has come: call it with the number just finished, from any thread.

    Parameters
    ----------
    what : str
        The step.
    total : int or None
        How many there are, if that is known.
    unit : str
    bar : (Progress, TaskID) or None
        What to draw on a terminal.
    """

    def __init__(self, what: str, total: int | None, unit: Unit, bar: "tuple[Progress, TaskID] | None") -> None:
        self.what = what
        self.total = total
        self.unit = unit
        self.done = 0
        self._before = 0
        self._started = time.monotonic()
        self._bar = bar

    def __call__(self, done: int) -> None:
        """Count what was finished."""
        self.done += done
        if self._bar:
            progress, task = self._bar
            progress.update(task, completed=self.done, rate=self.rate, left=self.left)

    def skip(self, done: int) -> None:
        """Count what an earlier run finished: it is done, and took none of this run's time."""
        self._before += done
        self(done)

    def describe(self, what: str) -> None:
        """Tell what the step does now."""
        self.what = what
        if self._bar:
            progress, task = self._bar
            progress.update(task, description=what)

    @property
    def per_s(self) -> float:
        """Mean rate so far."""
        return (self.done - self._before) / max(time.monotonic() - self._started, 1e-6)

    @property
    def rate(self) -> str:
        """Mean rate so far, in words."""
        return f"{self.per_s / 1e6:,.0f} MB/s" if self.unit == "bytes" else f"{self.per_s:,.0f} {self.unit}/s"

    @property
    def left(self) -> str:
        """Time left at that rate, in words."""
        if not self.total or self.done <= self._before:
            return ""
        return f"{duration((self.total - self.done) / self.per_s)} left"

    @property
    def line(self) -> str:
        """All of it, in words."""
        if not self.done:
            return f"{self.what} ..."
        share = f" {self.done / self.total:.0%}," if self.total else f" {self.done:,} {self.unit},"
        return f"{self.what}:{share} {self.rate}{f', {self.left}' if self.left else ''}"


def duration(seconds: float) -> str:
    """Seconds in words.

    Examples
    --------
    >>> duration(42), duration(100), duration(5400)
    ('42 s', '2 min', '1.5 h')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"


@contextmanager
def progress(what: str, total: int | None, unit: Unit = "clips") -> Iterator[Bar]:
    """Show how far a step has come; ``total`` is None if it is unknown."""
    if not sys.stderr.isatty():
        piped = Bar(what, total, unit, None)
        with _telling(piped):
            yield piped
        return
    from rich import progress as rich  # loaded for a terminal only
    from rich.console import Console

    amount = rich.DownloadColumn() if unit == "bytes" else rich.MofNCompleteColumn()
    columns = (
        rich.SpinnerColumn(),
        "{task.description}",
        rich.BarColumn(bar_width=16),
        amount,
        "{task.fields[rate]}",
        "{task.fields[left]}",
    )
    with rich.Progress(*columns, console=Console(file=sys.stderr), transient=True) as bar:
        yield Bar(what, total, unit, (bar, bar.add_task(what, total=total, rate="", left="")))


@contextmanager
def working(what: str) -> Iterator[None]:
    """Show that a step goes on whose length nobody knows."""
    if not sys.stderr.isatty():
        with _telling(Bar(what, None, "clips", None)):
            yield
        return
    from rich import progress as rich  # loaded for a terminal only
    from rich.console import Console

    # Not redirected: a library that is loaded meanwhile may keep sys.stdout, and write to it after this has ended.
    with rich.Progress(
        rich.SpinnerColumn(),
        "{task.description}",
        console=Console(file=sys.stderr),
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    ) as spinner:
        spinner.add_task(what, total=None)
        yield


@contextmanager
def _telling(bar: Bar) -> Iterator[None]:
    """Print a line about a step now and then."""
    ended, started = threading.Event(), time.monotonic()

    def tell() -> None:
        wait = FIRST_S
        while not ended.wait(wait):
            sys.stderr.write(f"{bar.line}\n")
            sys.stderr.flush()
            wait = max(NEXT_S, (time.monotonic() - started) / 20)

    thread = threading.Thread(target=tell, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
