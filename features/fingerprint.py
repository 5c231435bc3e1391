"""What makes two shards the same: their clips, the settings, and the version of the code that computes them."""

import hashlib
import json
from functools import cache
from importlib.metadata import version

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from features.code import code_fingerprint, sources_of
from features.layout import StoreSpec
from features.transform import FeatureSpec

CODE = (
    "features.compute",
    "features.corpus",
    "features.kernels",
    "features.layout",
    "features.shard",
    "features.transform",
)
"""Modules whose code decides what bytes a shard is made of."""

LIBRARIES = ("ducc0", "numba", "numcodecs", "numpy")
"""Libraries whose versions can change a number or a byte of a shard."""


class Version(BaseModel):
    """What computes features, apart from the settings."""

    code: str
    """Fingerprint of our own modules, blind to comments, docstrings and layout."""
    libraries: dict[str, str]


@cache
def current_version() -> Version:
    """Version of what is installed here; imports none of it."""
    return Version(
        code=code_fingerprint(sources_of(CODE)),
        libraries={library: version(library) for library in LIBRARIES},
    )


def settings_hash(spec: FeatureSpec, layout: StoreSpec, made_by: Version) -> str:
    """Fingerprint of everything but the clips, whatever order it is written in: 32 hexadecimal digits."""
    parts = [part.model_dump(mode="json") for part in (spec, layout, made_by)]
    return hashlib.blake2b(json.dumps(parts, sort_keys=True).encode(), digest_size=16).hexdigest()


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
