"""Where the shard cache lies and how large it may grow: run time settings, which change no result."""

import re
from pathlib import Path
from typing import Annotated

import typer

from features.errors import InputError
from features.store.cache import ShardCache

UNITS = {"k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
EXPERIMENTS = (".dvc", "tmp", "exps")
"""Where DVC runs queued experiments, each in a copy of the project."""

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
    """The cache in a folder, or else that of the project; queued experiments share the project's.

    Parameters
    ----------
    folder : Path, optional
        What the user says.
    store : Path, optional
        A store of the project, which may be another than the one we are in.
    """
    if folder and folder.resolve() == Path.cwd():
        raise InputError(
            "the cache folder is the one you are in; expected one for shards alone, such as .cache/features"
        )
    if folder and folder.exists() and not folder.is_dir():
        raise InputError(f"the cache folder {folder} is a file; expected a folder, such as .cache/features")
    project = Path.cwd()
    if store:
        project = next((parent for parent in store.resolve().parents if (parent / "dvc.yaml").is_file()), project)
    return ShardCache(folder or project_of(project) / ".cache" / "features")


def project_of(here: Path) -> Path:
    """The project that a folder belongs to: for a queued experiment, the one that queued it."""
    parts = here.parts
    for at in range(len(parts) - len(EXPERIMENTS)):
        if parts[at : at + len(EXPERIMENTS)] == EXPERIMENTS:
            return Path(*parts[:at])
    return here


def parse_size(text: str) -> int:
    """Read a size in bytes, such as ``20GB`` or ``500M``.

    Raises
    ------
    InputError
        If it is none.

    Examples
    --------
    >>> parse_size("1.5GB")
    1500000000
    """
    if text.strip() == "0":
        return 0
    found = re.fullmatch(r"\s*(\d{1,9}(?:\.\d{1,9})?)\s*([kKMGT])B?\s*", text)
    if not found:
        raise InputError(f"the cache size is {text!r}; expected a number and a unit, such as 20GB or 500MB")
    return int(float(found[1]) * UNITS[found[2].replace("K", "k")])
