"""Compiling loops, and keeping what was compiled beside its module, for the next process.

Numba keeps compiled code under the name of its module alone, notes what it was compiled from before the code itself is
written, and has no checksum of either: a disk that is full at that moment leaves old code under a new note, which would
run unnoticed ever after. Here every version of a module has a folder of its own, named by all that decides its code,
and a folder in which anything is not what was written is thrown away.
"""

import hashlib
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec
from uuid import uuid4

import llvmlite
import numba
from llvmlite.binding import get_host_cpu_features, get_host_cpu_name
from numba import config, njit
from xxhash import xxh3_128_hexdigest

KEPT = 4
"""Versions of a module that are kept; those made last."""
_NOTE = "checksums"
_settings: Any = config

Arguments = ParamSpec("Arguments")


def compiled(function: Callable[Arguments, None]) -> Callable[Arguments, None]:
    """Compile a function when it is first called, or take what an earlier process compiled.

    It holds no lock of Python's while it runs, and may contract a product and a sum into one operation. Where nothing
    can be kept, as in an installation that may only be read, every process compiles anew.
    """
    source = Path(function.__code__.co_filename)
    folder = source.parent / "__pycache__" / f"{source.stem}.{_version(source)}"
    try:
        _discard_damaged(folder)
        folder.mkdir(parents=True, exist_ok=True)
        kept = os.access(folder, os.W_OK)
    except OSError:
        kept = False
    if not kept:
        return _compile(function, cache=False)
    before, _settings.CACHE_DIR = _settings.CACHE_DIR, str(folder)
    try:
        return _kept(_compile(function, cache=True), folder)
    finally:
        _settings.CACHE_DIR = before


def _compile(function: Callable[Arguments, None], *, cache: bool) -> Callable[Arguments, None]:
    made: Callable[Arguments, None] = njit(nogil=True, fastmath={"contract"}, cache=cache)(function)
    return made


def _version(source: Path) -> str:
    """What decides the code that a module is compiled to: its text, what compiles it, and what is to run it."""
    processor = _settings.CPU_NAME or get_host_cpu_name(), _settings.CPU_FEATURES or get_host_cpu_features().flatten()
    known = (source.read_bytes(), numba.__version__, llvmlite.__version__, *processor)
    return hashlib.blake2b(repr(known).encode(), digest_size=8).hexdigest()


def _kept(function: Callable[Arguments, None], folder: Path) -> Callable[Arguments, None]:
    """The same function, which notes the checksums of what is kept when it has run for the first time."""
    noted = False

    @wraps(function)
    def noting(*arguments: Arguments.args, **named: Arguments.kwargs) -> None:
        nonlocal noted
        if noted:
            return function(*arguments, **named)
        try:
            function(*arguments, **named)
        except OSError:  # it could not be kept, but it is compiled
            function(*arguments, **named)
        noted = True
        with suppress(OSError):  # the next process will compile anew
            _note(folder)
        return None

    return noting


def _note(folder: Path) -> None:
    """Note what is in a folder, if that is something new, and remove what versions of long ago left."""
    content = _checksums(folder)
    note = folder / _NOTE
    if note.exists() and note.read_text() == content:
        return
    aside = note.with_name(f"{_NOTE}.{uuid4().hex}")
    try:
        aside.write_text(content)
        aside.replace(note)
    finally:
        aside.unlink(missing_ok=True)
    versions = folder.parent.glob(f"{folder.stem}.{'?' * 16}")
    for old in sorted(versions, key=lambda version: version.stat().st_mtime_ns)[:-KEPT]:
        shutil.rmtree(old)


def _discard_damaged(folder: Path) -> None:
    """Remove a folder in which anything is not what was noted."""
    if not folder.exists():
        return
    try:
        right = (folder / _NOTE).read_text() == _checksums(folder)
    except (OSError, ValueError):
        right = False
    if not right:
        shutil.rmtree(folder)


def _checksums(folder: Path) -> str:
    files = sorted(path for path in folder.rglob("*.nb?") if path.is_file())
    return "".join(f"{xxh3_128_hexdigest(path.read_bytes())} {path.relative_to(folder)}\n" for path in files)
