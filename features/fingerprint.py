"""What makes two shards the same: their clips, the settings, and the version of the code that computes them."""

import ast
import hashlib
import json
from collections.abc import Iterable
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

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


def code_fingerprint(sources: Iterable[str]) -> str:
    """Fingerprint of Python modules that comments, docstrings and layout do not change.

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
                # A string that stands alone does nothing, be it a docstring or one under an attribute.
                node.body = [child for child in node.body if not _is_text(child)] or [ast.Pass()]
        hasher.update(ast.unparse(tree).encode() + b"\0")
    return hasher.hexdigest()


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


@cache
def current_version() -> Version:
    """Version of what is installed here; imports none of it."""
    origins = [spec.origin for spec in map(find_spec, CODE) if spec and spec.origin]
    return Version(
        code=code_fingerprint(Path(origin).read_text() for origin in origins),
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
