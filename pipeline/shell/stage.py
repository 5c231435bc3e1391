"""The shell of every stage: it turns errors that a user can mend into one sentence and exit code 2."""

import errno
import gc
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import typer

from features.code import refuse_edited
from features.errors import InputError

USAGE = 2
"""Exit code for input that cannot be used."""

PACKAGES = ("features", "models", "pipeline")
"""Ours, whose modules a stage depends on."""

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
NO_ACCESS = (errno.EACCES, errno.EPERM, errno.EROFS)


def say(line: str) -> None:
    """Print one line for the user."""
    print(line, flush=True)


def counted(number: int, thing: str) -> str:
    """A number of things.

    Examples
    --------
    >>> counted(1, "shard"), counted(2000, "shard")
    ('1 shard', '2,000 shards')
    """
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def note(line: str) -> None:
    """Print one remark that is no result."""
    print(f"note: {line}", file=sys.stderr, flush=True)


def note_waiting(target: Path) -> None:
    """Say that another run has to end first."""
    note(f"another run is writing {target}; waiting for it to end")


def default_workers() -> int:
    """As many workers as this process may use processors."""
    return len(os.sched_getaffinity(0))


def run(stage: Callable[..., None]) -> None:
    """Run a stage's function as a command; its parameters become the command's arguments and options."""
    gc.freeze()  # what has been imported stays until the end, so that nobody need look through it for garbage
    with mendable():
        typer.run(stage)


def refuse_edited_code() -> None:
    """Refuse to end well if any of our modules was edited since it was loaded.

    DVC takes the hashes of what a stage depends on when the stage has ended, and would take what the old code made for
    what the new code makes.

    Raises
    ------
    InputError
        Naming the module.
    """
    ours = [module for name, module in sys.modules.items() if name == "__main__" or name.split(".")[0] in PACKAGES]
    refuse_edited(Path(module.__file__) for module in ours if module.__file__)


@contextmanager
def mendable() -> Iterator[None]:
    """Turn errors that a user can mend into one sentence and exit code 2."""
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
            where = f" {error.filename2}" if error.filename2 else where  # of a copy, what was written
            _fail(f"there is no room to write{where} ({error.strerror}); free some space and run this again")
        if error.errno in NO_ACCESS:
            _fail(f"writing or reading{where} is not allowed ({error.strerror}); change its permissions")
        _fail(f"the system could not read or write{where} ({error.strerror or error}); see to that and run this again")


def _fail(sentence: str) -> None:
    print(f"error: {' '.join(sentence.splitlines())}", file=sys.stderr, flush=True)
    raise SystemExit(USAGE)
