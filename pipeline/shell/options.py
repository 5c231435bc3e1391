"""Options of commands: where the shard cache is and how large it may grow. They change no result."""

import re
from pathlib import Path
from typing import Annotated

import typer

from features.errors import InputError
from features.store.cache import ShardCache

UNITS = {"k": 10**3, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}

Folder = Annotated[
    Path | None,
    typer.Option(
        "--cache",
        envvar="FEATURES_CACHE",
        help="Folder of finished shards; .cache/features by default.",
        show_default=False,
    ),
]
Size = Annotated[
    str,
    typer.Option(
        "--cache-size",
        envvar="FEATURES_CACHE_SIZE",
        help="Least recently used shards above this size are removed after each run.",
    ),
]
DEFAULT_SIZE = "20GB"


def shard_cache(folder: Path | None, store: Path | None = None) -> ShardCache:
    """Open the cache in a folder, by default ``.cache/features`` of the project around a store or the current folder.

    Raises
    ------
    InputError
        If the folder is a file or the current folder.
    """
    if folder and folder.resolve() == Path.cwd():
        raise InputError("the cache folder is the current folder; expected one for shards, such as .cache/features")
    if folder and folder.exists() and not folder.is_dir():
        raise InputError(f"the cache folder {folder} is a file; expected a folder, such as .cache/features")
    project = Path.cwd()
    if store:
        project = next((parent for parent in store.resolve().parents if (parent / "dvc.yaml").is_file()), project)
    return ShardCache(folder or project_of(project) / ".cache" / "features")


def project_of(here: Path) -> Path:
    """The project that a folder belongs to; DVC's copies for queued experiments belong to the project they copy."""
    before, copied, _ = str(here).partition("/.dvc/tmp/exps/")
    return Path(before) if copied else here


def parse_size(text: str) -> int:
    """Read a size in bytes, such as ``20GB`` or ``500M``.

    Raises
    ------
    InputError
        If the text is not a size.

    Examples
    --------
    >>> parse_size("1.5GB")
    1500000000
    """
    found = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)\s*([kKMGT])B?|0", text.strip())
    if not found:
        raise InputError(f"the cache size is {text!r}; expected a number and a unit, such as 20GB or 500MB")
    return int(float(found[1]) * UNITS[found[2]]) if found[1] else 0
