"""Kept results: the files that a finished training or evaluation wrote, under a fingerprint of all that decided them.

A result is one file, ``<key>.<checksum>.zip``: a zip of named files, and the xxh3-128 of the zip. It appears whole, in
one step, and never changes. A damaged one is removed and ignored. Failing to write one is not an error.
"""

import hashlib
import json
import re
import shutil
import time
import zipfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, BinaryIO
from uuid import uuid4

import typer
from xxhash import xxh3_128

from features.fingerprint import code_fingerprint
from pipeline.shell.options import project_of
from pipeline.shell.stage import warn

ENTRY = re.compile(r"[0-9a-f]{32}\.[0-9a-f]{32}\.zip")
PARTIAL = re.compile(r"[0-9a-f]{32}\.[0-9a-f]{32}\.partial")
"""Name of a result that is being written: its key and a random number."""
STALE_S = 24 * 3600
"""Age from which a partial file is taken to be left by a killed run."""

Size = Annotated[
    str,
    typer.Option(
        "--cache-size",
        envvar="TRAININGS_CACHE_SIZE",
        help="Least recently used trainings and evaluations above this size are removed after each run.",
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


def file_digest(path: Path) -> str:
    """xxh3-128 of a file's contents: 32 hexadecimal digits."""
    with path.open("rb") as file:
        return _digest(file)


@dataclass(frozen=True)
class Usage:
    """How many results, and how many bytes they take."""

    results: int
    bytes: int


@dataclass(frozen=True)
class Results:
    """A folder of kept results. Only files whose names match :data:`ENTRY` or :data:`PARTIAL` are ever removed.

    Attributes
    ----------
    folder : Path
    """

    folder: Path

    @classmethod
    def of_project(cls) -> "Results":
        """Those of the project in the current folder; queued experiments share the project's."""
        return cls(project_of(Path.cwd()) / ".cache" / "results")

    def take(self, key: str, targets: Mapping[str, Path]) -> bool:
        """Write the files of a kept result, which counts as just used.

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
        for path in self._entries():
            if not path.name.startswith(f"{key}."):
                continue
            try:
                file = path.open("rb")
            except OSError:  # another process may just have pruned it
                continue
            with file:
                if _digest(file) != path.name.split(".")[1]:
                    _remove(path)
                elif _unpack(file, targets):
                    with suppress(OSError):  # a disk that is only read
                        path.touch()
                    return True
        return False

    def keep(self, key: str, files: Mapping[str, Path]) -> None:
        """Keep files under a key.

        Parameters
        ----------
        key : str
        files : dict
            The file, or the folder of files, of each name.
        """
        partial = self.folder / f"{key}.{uuid4().hex}.partial"
        try:
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                _pack(partial, files)
                partial.replace(self.folder / f"{key}.{file_digest(partial)}.zip")
            finally:
                partial.unlink(missing_ok=True)
        except OSError as error:
            warn(f"this result could not be kept in {self.folder} ({error.strerror or error}), so it is computed again")

    def usage(self) -> Usage:
        """Count results and bytes."""
        sizes = [size for _, size, _ in self._aged()]
        return Usage(len(sizes), sum(sizes))

    def prune(self, max_bytes: int) -> Usage:
        """Remove least recently used results until the rest fits; return what was removed."""
        for path in self._named(PARTIAL):
            with suppress(OSError):
                if time.time() - path.stat().st_mtime > STALE_S:
                    path.unlink()
        aged = self._aged()
        over = sum(size for _, size, _ in aged) - max_bytes
        removed = freed = 0
        for _, size, path in aged:
            if freed >= over:
                break
            if _remove(path):
                removed, freed = removed + 1, freed + size
        return Usage(removed, freed)

    def clear(self) -> Usage:
        """Remove every result; return what was removed."""
        for path in self._named(PARTIAL):
            _remove(path)
        return self.prune(0)

    def _aged(self) -> list[tuple[int, int, Path]]:
        """Time of last use, size and path of each result, least recently used first."""
        aged = []
        for path in self._entries():
            with suppress(OSError):  # another process may just have removed it
                status = path.stat()
                aged.append((status.st_mtime_ns, status.st_size, path))
        return sorted(aged)

    def _entries(self) -> list[Path]:
        return self._named(ENTRY)

    def _named(self, pattern: re.Pattern[str]) -> list[Path]:
        try:
            found = [path for path in self.folder.iterdir() if pattern.fullmatch(path.name)]
        except OSError:  # no such folder, or not ours to read
            return []
        return sorted(path for path in found if path.is_file() and not path.is_symlink())


def _digest(file: BinaryIO) -> str:
    return hashlib.file_digest(file, lambda: xxh3_128()).hexdigest()  # type: ignore[arg-type]


def _remove(path: Path) -> bool:
    """Remove a file, if that is allowed; whether it is gone."""
    with suppress(OSError):
        path.unlink(missing_ok=True)
        return True
    return False


def _pack(path: Path, files: Mapping[str, Path]) -> None:
    """Write a zip of files and of folders of files; equal contents give equal bytes."""
    with zipfile.ZipFile(path, "x", zipfile.ZIP_STORED) as archive:
        for name, source in files.items():
            for file in sorted(source.rglob("*")) if source.is_dir() else [source]:
                if file.is_file():
                    member = zipfile.ZipInfo((Path(name) / file.relative_to(source)).as_posix())
                    with file.open("rb") as opened, archive.open(member, "w", force_zip64=True) as written:
                        shutil.copyfileobj(opened, written)


def _unpack(file: BinaryIO, targets: Mapping[str, Path]) -> bool:
    """Write the members of each name; False, with nothing written, if a name has none."""
    with zipfile.ZipFile(file) as archive:
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
