"""Kept results: the files that a finished training or evaluation wrote, under a fingerprint of all that decided them.

A result is one zip of named files in a cache of its own. Failing to keep one is not an error. Checkpoints, from which
trainings go on, are in another one.
"""

import hashlib
import json
import shutil
import zipfile
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Self

import typer

from features.fingerprint import code_fingerprint
from features.store.cache import FileCache, touch
from features.store.shard import Checksum, checksum, checksum_of
from pipeline.shell.options import project_of
from pipeline.shell.stage import warn

Size = Annotated[
    str,
    typer.Option(
        "--cache-size",
        envvar="TRAININGS_CACHE_SIZE",
        help="Least recently used trainings and evaluations, and checkpoints, above this size are removed after each "
        "run.",
    ),
]
DEFAULT_SIZE = "5GB"


def result_key(settings: Any, modules: Iterable[str], libraries: Iterable[str]) -> str:
    """Fingerprint of all that decides a result: 32 hexadecimal digits.

    Parameters
    ----------
    settings : Any
        Settings and digests of the input, as JSON can hold them.
    modules : iterable of str
        Names of our modules that compute the result; their comments and docstrings do not count.
    libraries : iterable of str
        Names of installed packages, whose versions count.
    """
    parts = [settings, code_fingerprint(modules), {library: version(library) for library in libraries}]
    return hashlib.blake2b(json.dumps(parts, sort_keys=True).encode(), digest_size=16).hexdigest()


class Results(FileCache):
    """Finished trainings and evaluations."""

    @classmethod
    def of_project(cls) -> Self:
        """Those of the project in the current folder; queued experiments share the project's."""
        return cls(project_of(Path.cwd()) / ".cache" / "results")

    def take(self, key: str, targets: Mapping[str, Path]) -> bool:
        """Write the files of a kept result.

        Parameters
        ----------
        key : str
        targets : dict
            Where to write the file, or the folder of files, of each name.

        Returns
        -------
        bool
            False, with nothing written, if there is no intact result of all these names.
        """
        found = self.find(key)
        if found is None:
            return False
        path, _ = found
        try:
            archive = zipfile.ZipFile(path)
        except FileNotFoundError:  # another process has just pruned it
            return False
        touch(path)
        with archive:
            return _unpack(archive, targets)

    def digest(self, key: str, name: str) -> str | None:
        """XXH3-128 of a file of a kept result, as 32 hexadecimal digits; None if there is no such result."""
        found = self.find(key)
        if found is None:
            return None
        with zipfile.ZipFile(found[0]) as archive:
            return checksum_of(archive.read(name)).digest

    def keep(self, key: str, files: Mapping[str, Path]) -> None:
        """Keep files under a key: the file, or the folder of files, of each name."""

        def write(file: BinaryIO) -> Checksum:
            _pack(file, files)
            file.flush()
            return checksum(Path(file.name))

        try:
            self.add(key, None, write)
        except OSError as error:
            warn(f"this result could not be kept in {self.folder} ({error.strerror or error}), so it is computed again")


class Checkpoints(FileCache):
    """Checkpoints of trainings, one file each: ``<network>.<fingerprint>.npz``."""

    @classmethod
    def of_project(cls) -> Self:
        """Those of the project in the current folder; a queued experiment has its own."""
        return cls(Path.cwd() / ".cache" / "training")

    def path(self, model: str, key: str) -> Path:
        """Where the checkpoint of a training is."""
        return self.folder / f"{model}.{key}.npz"

    def of_network(self, model: str) -> tuple[Path, ...]:
        """All checkpoints of a network."""
        return tuple(sorted(self.folder.glob(f"{model}.*.npz")))

    def entries(self) -> list[Path]:
        """Every checkpoint, sorted by name."""
        return sorted(self.folder.glob("*.npz"))


def _pack(to: BinaryIO, files: Mapping[str, Path]) -> None:
    """Write a zip of files and of folders of files; equal contents give equal bytes."""
    with zipfile.ZipFile(to, "w", zipfile.ZIP_STORED) as archive:
        for name, source in files.items():
            for file in sorted(source.rglob("*")) if source.is_dir() else [source]:
                if file.is_file():
                    member = zipfile.ZipInfo((Path(name) / file.relative_to(source)).as_posix())
                    with file.open("rb") as opened, archive.open(member, "w", force_zip64=True) as written:
                        shutil.copyfileobj(opened, written)


def _unpack(archive: zipfile.ZipFile, targets: Mapping[str, Path]) -> bool:
    """Write the members of each name; False, with nothing written, if a name has none."""
    members: dict[str, list[str]] = {name: [] for name in targets}
    for member in archive.namelist():
        members.get(member.split("/")[0], []).append(member)
    if not all(members.values()):
        return False
    for name, target in targets.items():
        for member in members[name]:
            path = target / member[len(name) + 1 :] if "/" in member else target
            path.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(member) as opened, path.open("wb") as written:
                shutil.copyfileobj(opened, written)
    return True
