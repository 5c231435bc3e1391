"""What makes two shards the same: their clips, the settings, and the version of the code that computes them."""

import hashlib
import json
from functools import cache
from importlib import import_module
from importlib.metadata import version
from typing import Any

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from features.code import code_fingerprint, sources_of

CODE = (
    "features.corpus",
    "features.featurize",
    "features.spectrogram",
    "features.store.layout",
    "features.store.reader",
    "features.store.shard",
)
"""Modules whose code decides what bytes a shard of features is made of, those that read its waveforms included."""

LIBRARIES = ("ducc0", "numcodecs", "numpy")
"""Libraries whose versions can change a number or a byte of such a shard."""

WAVEFORM_CODE = ("features.store.layout", "features.store.shard")
"""Modules whose code decides what bytes a shard of given waveforms is made of."""

WAVEFORM_LIBRARIES = ("numcodecs", "numpy")

SECTIONS = ("features", "store", "split")
"""Settings that a feature store records."""


class Version(Struct, frozen=True, kw_only=True):
    """What makes shards, apart from the settings."""

    code: str
    """Fingerprint of our own modules, blind to comments, docstrings and layout."""
    libraries: dict[str, str]


@cache
def current_version() -> Version:
    """Version of what computes features here; imports none of it."""
    return _version(CODE, LIBRARIES)


@cache
def loaded_version() -> Version:
    """Version of what this process computes features with; imports all of it, so that no edit can come in between.

    Raises
    ------
    InputError
        If any of it was edited since this process began to load modules.
    """
    for module in CODE:
        import_module(module)
    return _version(CODE, LIBRARIES)


@cache
def waveform_version() -> Version:
    """Version of what writes waveforms here; imports none of it."""
    return _version(WAVEFORM_CODE, WAVEFORM_LIBRARIES)


def _version(modules: tuple[str, ...], libraries: tuple[str, ...]) -> Version:
    return Version(
        code=code_fingerprint(sources_of(modules)), libraries={library: version(library) for library in libraries}
    )


def settings_hash(*parts: Struct) -> str:
    """Fingerprint of all that decides a shard but its clips, whatever order it is written in: 32 hexadecimal digits.

    Parameters
    ----------
    *parts : Struct
        Settings of features, if it holds any; then those of the store, and the version of what makes it.
    """
    values = msgspec.to_builtins(parts)
    return hashlib.blake2b(json.dumps(values, sort_keys=True).encode(), digest_size=16).hexdigest()


def shard_key(settings: str, digests: NDArray[np.uint8]) -> str:
    """Name of a shard by everything that decides its bytes.

    Parameters
    ----------
    settings : str
        What :func:`settings_hash` gave.
    digests : uint8 array, shape (clips, 16)
        Digest of each of its clips, in order.

    Returns
    -------
    str
        32 hexadecimal digits.
    """
    return hashlib.blake2b(settings.encode() + digests.tobytes(), digest_size=16).hexdigest()


def provenance_changes(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Say of each setting and version what it was and what it is.

    Parameters
    ----------
    before, now : dict
        Attributes of feature stores, as far as they are known.

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
        changes.append("the code that computes features is another")
    return changes


def _changes(prefix: str, old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    return [
        f"{prefix}{name}: {old.get(name, 'none')} -> {new.get(name, 'none')}"
        for name in sorted({*old, *new})
        if old.get(name) != new.get(name)
    ]
