"""What a store was when it was made: the checksum of every file, and what the store says of itself.

The manifest lies in the store as ``manifest.json`` and carries a checksum of its own. It repeats the attributes, so
that after damage to either copy the other tells how the store was made.
"""

import json
from pathlib import Path
from typing import Any, Self

import msgspec
import xxhash

from features.store.shard import Checksum, checksum_of

NAME = "manifest.json"
GROUP = "zarr.json"
"""Metadata of the whole store."""
COLUMNS = ("label", "source_row", "digest")
"""Arrays that no two sets have in common."""
SENSELESS = (ValueError, KeyError, TypeError, AttributeError, RecursionError)
"""What reading a document raises that is damaged."""


class ManifestError(Exception):
    """A manifest that is missing or is not what was written."""


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Checksums of a store's files, and its attributes."""

    attributes: dict[str, Any]
    """What the store says of itself: settings, source, libraries."""
    files: dict[str, Checksum]
    """Metadata and small arrays, by their path inside the store."""
    shards: list[Checksum]
    """Shards of the large array, in order."""

    def write(self, store: Path) -> None:
        """Write it into the folder of a store."""
        (store / NAME).write_bytes(_sealed(msgspec.to_builtins(self)))

    @classmethod
    def read(cls, store: Path) -> Self:
        """Read it from the folder of a store.

        Raises
        ------
        ManifestError
            If it is not there, differs in any byte from what was written, or was written for another store.
        """
        try:
            content = (store / NAME).read_bytes()  # as text, a byte that became a carriage return would be a newline
            body = json.loads(content)
            del body["digest"]
            manifest = msgspec.convert(body, cls)
        except (FileNotFoundError, NotADirectoryError):
            raise ManifestError("is missing") from None
        except (OSError, *SENSELESS):
            raise ManifestError("cannot be read") from None
        if content != _sealed(body):
            raise ManifestError("is not what was written")
        if manifest._of_another(store):
            raise ManifestError("is that of another store")
        return manifest

    def _of_another(self, store: Path) -> bool:
        """Whether a store has other arrays than this says, or other metadata and columns, every one of them."""
        try:
            group = (store / GROUP).read_bytes()
            if checksum_of(group) == self.files[GROUP]:
                return False
            names = [name.split("/") for name in self.files if name != GROUP]
            if json.loads(group)["consolidated_metadata"]["metadata"].keys() != {array for array, *_ in names}:
                return True
            columns = ["/".join(name) for name in names if name[0] in COLUMNS and name[-1] != "zarr.json"]
            return all(checksum_of((store / name).read_bytes()) != self.files[name] for name in columns)
        except (OSError, *SENSELESS):  # what is damaged says nothing of it
            return False


def _sealed(body: dict[str, Any]) -> bytes:
    """The bytes of a manifest, with a checksum of what it says."""
    digest = xxhash.xxh3_128_hexdigest(json.dumps(body, sort_keys=True).encode())
    return (json.dumps({**body, "digest": digest}, indent=1, sort_keys=True) + "\n").encode()
