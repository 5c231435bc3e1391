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
    "features.corpus",
    "features.featurize",
    "features.spectrogram",
    "features.store.layout",
    "features.store.reader",
    "features.store.shard",
)
"""Modules whose code decides the bytes of a shard of features, including those that read its waveforms."""

LIBRARIES = ("ducc0", "numcodecs", "numpy")
"""Libraries whose version can change a number or a byte of such a shard."""

WAVEFORM_CODE = ("features.store.layout", "features.store.shard")
"""Modules whose code decides the bytes of a shard of given waveforms."""

WAVEFORM_LIBRARIES = ("numcodecs", "numpy")

SECTIONS = ("features", "store", "split")
"""Settings that a feature store records."""

CLOCK_NS = 10**7
"""Largest delay of a file system's clock, by which the time of a change may lag."""


class Version(Struct, frozen=True, kw_only=True):
    """What computes shards, apart from the settings."""

    code: str
    """Fingerprint of our own modules."""
    libraries: dict[str, str]


@cache
def current_version() -> Version:
    """Version of the code that computes features, read from its files without importing it."""
    return _version(CODE, LIBRARIES)


@cache
def loaded_version() -> Version:
    """Version of the code that this process computes features with.

    Imports all of it first, so a later edit cannot take effect.

    Raises
    ------
    InputError
        If a module was edited since this process began to load modules.
    """
    for module in CODE:
        import_module(module)
    return _version(CODE, LIBRARIES)


@cache
def waveform_version() -> Version:
    """Version of the code that writes waveforms, read from its files without importing it."""
    return _version(WAVEFORM_CODE, WAVEFORM_LIBRARIES)


def _version(modules: tuple[str, ...], libraries: tuple[str, ...]) -> Version:
    return Version(
        code=code_fingerprint(sources_of(modules)), libraries={library: version(library) for library in libraries}
    )


def sources_of(modules: Iterable[str]) -> list[str]:
    """Source text of modules, by their names, without importing them.

    Raises
    ------
    InputError
        If one was edited since this process began to load modules.
    """
    origins = [Path(spec.origin) for spec in map(find_spec, modules) if spec and spec.origin]
    texts = [origin.read_text() for origin in origins]
    refuse_edited(origins)
    return texts


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
                f"{source} was edited while this ran, so this may have run the old code; run this again, and restart "
                "dask's workers if there are any"
            )


def code_fingerprint(sources: Iterable[str]) -> str:
    """Fingerprint of Python modules that ignores comments, docstrings and layout.

    Parameters
    ----------
    sources : iterable of str
        The text of each module.

    Returns
    -------
    str
        32 hexadecimal digits.

    Examples
    --------
    >>> code_fingerprint(["x = 1"]) == code_fingerprint(["x  =  1  # one"])
    True
    """
    hasher = hashlib.blake2b(digest_size=16)
    for source in sources:
        tree = ast.parse(source)
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                # A string on its own does nothing, whether it documents a function or an attribute.
                node.body = [child for child in node.body if not _is_text(child)] or [ast.Pass()]
        hasher.update(ast.unparse(tree).encode() + b"\0")
    return hasher.hexdigest()


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def settings_hash(*parts: Struct) -> str:
    """Fingerprint of everything that decides a shard except its clips: 32 hexadecimal digits.

    Parameters
    ----------
    *parts : Struct
        The settings of the features, if it holds any; then those of the store, and the version that makes it.
    """
    values = msgspec.to_builtins(parts)
    return hashlib.blake2b(json.dumps(values, sort_keys=True).encode(), digest_size=16).hexdigest()


def shard_key(settings: str, digests: NDArray[np.uint8]) -> str:
    """Name of a shard in the cache, by everything that decides its bytes.

    Parameters
    ----------
    settings : str
        As returned by :func:`settings_hash`.
    digests : uint8 array, shape (clips, 16)
        Digest of each of its clips, in order.

    Returns
    -------
    str
        32 hexadecimal digits.
    """
    return hashlib.blake2b(settings.encode() + digests.tobytes(), digest_size=16).hexdigest()


def provenance_changes(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Describe each setting and version that differs between two feature stores.

    Parameters
    ----------
    before, now : dict
        Attributes of feature stores; what is missing counts as ``none``.

    Examples
    --------
    >>> provenance_changes({"features": {"n_fft": 258}}, {"features": {"n_fft": 512}})
    ['features.n_fft: 258 -> 512']
    """
    changes = []
    for section in SECTIONS:
        changes += _changes(f"{section}.", before.get(section, {}), now.get(section, {}))
    old, new = before.get("made_by", {}), now.get("made_by", {})
    changes += _changes("library ", old.get("libraries", {}), new.get("libraries", {}))
    if old.get("code") != new.get("code"):
        changes.append("the code that computes features changed")
    return changes


def _changes(prefix: str, old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    return [
        f"{prefix}{name}: {old.get(name, 'none')} -> {new.get(name, 'none')}"
        for name in sorted({*old, *new})
        if old.get(name) != new.get(name)
    ]
