"""What a store was when it was made: its attributes, and the checksum of every file.

The manifest lies in the store as ``manifest.json`` and carries a checksum of its own. It repeats the attributes, so
that after damage to either copy the other tells how the store was made.
"""

import json
from pathlib import Path
from typing import Any, Self

import msgspec
import xxhash

from features.store.shard import Checksum

NAME = "manifest.json"


class ManifestError(Exception):
    """A manifest that is missing or is not what was written."""


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """Checksums of a store's files, and its attributes."""

    attributes: dict[str, Any]
    """How the store was made: settings, source, libraries."""
    files: dict[str, Checksum]
    """Metadata and small arrays, by their path inside the store."""
    shards: list[Checksum]
    """Shards of the large array, in order."""

    def write(self, store: Path) -> None:
        """Write it into the folder of a store."""
        (store / NAME).write_bytes(self._encoded())

    @classmethod
    def read(cls, store: Path) -> Self:
        """Read it from the folder of a store.

        Raises
        ------
        ManifestError
            If it is not there, or differs in any byte from what was written.
        """
        try:
            content = (store / NAME).read_bytes()
            manifest = msgspec.json.decode(content, type=cls)
        except (FileNotFoundError, NotADirectoryError):
            raise ManifestError("is missing") from None
        except (OSError, ValueError, RecursionError):
            raise ManifestError("cannot be read") from None
        if content != manifest._encoded():
            raise ManifestError("is not what was written")
        return manifest

    def _encoded(self) -> bytes:
        body = msgspec.to_builtins(self)
        digest = xxhash.xxh3_128_hexdigest(json.dumps(body, sort_keys=True).encode())
        return (json.dumps({**body, "digest": digest}, indent=1, sort_keys=True) + "\n").encode()


def is_elsewhere(path: Path) -> bool:
    """Whether a place is the URL of a file system that may be on another machine."""
    return "://" in str(path)


def repair_hint(path: Path) -> str:
    """What to do about a store that is not what was written, in words."""
    return "make or copy it again" if is_elsewhere(path) else f"run: features verify --repair {path}"
