"""What every command shares: lines for the user, and errors as one sentence with exit code 2."""

import errno
import functools
import io
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer

from features.errors import InputError
from features.fingerprint import refuse_edited
from pipeline.shell.times import keep_time

USAGE = 2
"""Exit code for bad input."""
INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it."""
PACKAGES = ("features", "models", "pipeline")
"""Packages of this project, whose modules a stage depends on."""
OUTPUT_FOLDERS = ("data", "data/split", "data/features", "artifacts", "metrics", "reports")
"""Folders of what DVC keeps."""
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
NO_ACCESS = (errno.EACCES, errno.EPERM, errno.EROFS)


def say(line: str) -> None:
    """Print one line for the user."""
    print(line, flush=True)


def counted(number: int, thing: str, things: str = "") -> str:
    """A number of things.

    Examples
    --------
    >>> counted(1, "shard"), counted(2000, "shard")
    ('1 shard', '2,000 shards')
    """
    return f"{number:,} {thing if number == 1 else things or f'{thing}s'}"


def warn(line: str) -> None:
    """Print a warning."""
    print(f"warning: {line}", file=sys.stderr, flush=True)


def warn_waiting(target: Path) -> None:
    """Tell the user that another run has to end first."""
    warn(f"another run is writing {target}; waiting for it to end")


def default_workers() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0))


def run(stage: Callable[..., None]) -> None:
    """Run a stage's function as a command; its parameters become the command's arguments and options."""

    @functools.wraps(stage)
    def interruptible(*arguments: Any, **options: Any) -> None:
        refuse_linked_folders()
        try:
            stage(*arguments, **options)
        except KeyboardInterrupt as stop:
            print_error(str(stop) or "stopped by Ctrl-C; what was finished is kept, and dvc repro goes on from there")
            raise SystemExit(INTERRUPTED) from None

    started = time.monotonic()
    try:
        with errors_as_sentences():
            typer.run(interruptible)
    except SystemExit as end:  # as typer ends a command
        if not end.code:
            keep_time(" ".join([Path(sys.argv[0]).stem, *sys.argv[1:]]), time.monotonic() - started)
        raise


def refuse_linked_folders() -> None:
    """Fail before a stage begins if a link leads one of the output folders out of the project.

    DVC keeps nothing behind such a link, and says so only when a stage has ended.
    """
    for folder in OUTPUT_FOLDERS:
        place = Path(folder).resolve()
        if not place.is_relative_to(Path.cwd()):
            raise InputError(
                f"{folder} leads to {place}, outside the project, where DVC keeps no results; expected a folder of the "
                "project, so remove the link and move the whole project to that disk, without .venv: uv makes it again"
            )


@contextmanager
def interrupted_between_steps() -> Iterator[Callable[[], None]]:
    """Hold Ctrl-C back until the next call of what this yields; pressed twice, it stops at once.

    TensorFlow aborts the process where an interrupt strikes inside its own code.
    """
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.default_int_handler or threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    is_pressed = False

    def press(*_: Any) -> None:
        nonlocal is_pressed
        if is_pressed:
            raise KeyboardInterrupt
        is_pressed = True

    def check() -> None:
        if is_pressed:
            raise KeyboardInterrupt

    signal.signal(signal.SIGINT, press)
    try:
        yield check
    finally:
        signal.signal(signal.SIGINT, before)


def refuse_edited_code() -> None:
    """Fail if one of our modules was edited since it was loaded.

    DVC hashes the dependencies of a stage when it has ended. It would record the new code for what the old code made.
    """
    ours = [module for name, module in sys.modules.items() if name == "__main__" or name.split(".")[0] in PACKAGES]
    refuse_edited(Path(module.__file__) for module in ours if module.__file__)


@contextmanager
def errors_as_sentences() -> Iterator[None]:
    """Print an error that the user can fix as one sentence, and exit with code 2."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without UTF-8 shows ? where it lacks a letter
    try:
        yield
    except InputError as error:
        _fail(str(error))
    except MemoryError as error:
        _fail(
            f"this takes more memory than there is ({error or 'no room'}); end other programs, or choose fewer "
            "--workers, smaller store.chunk_clips and store.shard_clips, or a smaller train.batch_size to train with"
        )
    except OSError as error:
        where = f" {error.filename}" if error.filename else ""
        if error.errno in NO_ROOM:
            where = f" {error.filename2}" if error.filename2 else where  # the target of a copy
            _fail(f"there is no room to write{where} ({error.strerror}); free some space and run this again")
        if error.errno in NO_ACCESS:
            _fail(f"no permission to read or write{where} ({error.strerror}); change its permissions")
        _fail(f"reading or writing{where} failed ({error.strerror or error}); fix that and run this again")


def print_error(sentence: str) -> None:
    """Print an error."""
    print(f"error: {' '.join(sentence.splitlines())}", file=sys.stderr, flush=True)


def _fail(sentence: str) -> None:
    print_error(sentence)
    raise SystemExit(USAGE)
