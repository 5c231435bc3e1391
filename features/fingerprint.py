"""What makes two shards the same: their clips, the settings, and the code and libraries that compute them."""

import ast
import hashlib
import json
from collections.abc import Iterable
from functools import cache
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from features import LOADED_NS
from features.errors import InputError

CODE = (
    "features.featurize",
    "features.spectrogram",
    "features.store.layout",
    "features.store.reader",
    "features.store.shard",
)
"""Modules whose code decides the bytes of a shard of features, including those that read its waveforms."""

LIBRARIES = ("ducc0", "librosa", "numcodecs", "numpy", "scipy")
"""Libraries whose version can change a number or a byte of such a shard."""

WAVEFORM_CODE = ("features.store.layout", "features.store.shard")
"""Modules whose code decides the bytes of a shard of given waveforms."""

CLOCK_NS = 10**7
"""Largest delay of a file system's clock, by which the time of a change may lag."""


class Version(Struct, frozen=True, kw_only=True):
    """What computes shards, apart from the settings."""

    code: str
    """Fingerprint of our own modules."""
    libraries: dict[str, str]


@cache
def current_version() -> Version:
    """Version of the code and libraries that compute features in this process.

    Raises
    ------
    InputError
        If a module was edited since this process began to load modules.
    """
    return _version(CODE, LIBRARIES)


@cache
def waveform_version() -> Version:
    """Version of the code and libraries that write waveforms in this process; raises as :func:`current_version`."""
    return _version(WAVEFORM_CODE, ("numcodecs", "numpy"))


def _version(modules: tuple[str, ...], libraries: tuple[str, ...]) -> Version:
    for module in modules:
        import_module(module)  # a later edit cannot take effect
    return Version(code=code_fingerprint(modules), libraries={library: version(library) for library in libraries})


def refuse_edited(sources: Iterable[Path]) -> None:
    """Fail if a module was edited since this process began to load modules: it may run the old code.

    Raises
    ------
    InputError
        Naming the first one.
    """
    for source in sources:
        if source.stat().st_ctime_ns > LOADED_NS - CLOCK_NS:
            raise InputError(
                f"{source} was edited while this ran, so the result may be of the old code and was not published; "
                "shards and checkpoints are kept, so run this again (with a dask cluster, restart its workers first)"
            )


def code_fingerprint(modules: Iterable[str]) -> str:
    """Fingerprint of modules, by their names: 32 hexadecimal digits that ignore comments, docstrings and layout.

    Reads the modules' files without importing them.

    Raises
    ------
    InputError
        If a module was edited since this process began to load modules.
    """
    origins = [Path(spec.origin) for spec in map(find_spec, modules) if spec and spec.origin]
    hasher = hashlib.blake2b(digest_size=16)
    for origin in origins:
        hasher.update(code_of(origin.read_text()).encode() + b"\0")
    refuse_edited(origins)
    return hasher.hexdigest()


def code_of(source: str) -> str:
    """The code of a module without comments, docstrings and layout.

    Examples
    --------
    >>> code_of("x  =  1  # one")
    'x = 1'
    """
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            # A string on its own does nothing, whether it documents a function or an attribute.
            node.body = [child for child in node.body if not _is_text(child)] or [ast.Pass()]
    return ast.unparse(tree)


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def settings_hash(*parts: Any) -> str:
    """Fingerprint of all that decides a shard except its clips, 32 hexadecimal digits: settings and a version."""
    values = msgspec.to_builtins(parts)
    return hashlib.blake2b(json.dumps(values, sort_keys=True).encode(), digest_size=16).hexdigest()


def shard_key(settings: str, digests: NDArray[np.uint8]) -> str:
    """Name of a shard in the cache, by everything that decides its bytes: 32 hexadecimal digits.

    Parameters
    ----------
    settings : str
        As returned by :func:`settings_hash`.
    digests : uint8 array, shape (clips, 16)
        Digest of each of its clips, in order.
    """
    return hashlib.blake2b(settings.encode() + digests.tobytes(), digest_size=16).hexdigest()
