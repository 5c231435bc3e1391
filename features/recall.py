"""What one look at every clip of an npz found, kept for the next run, for as long as nobody touches the file.

DVC, too, takes a file for unchanged while its inode, size and time of change are the same. Records are conveniences:
one that cannot be read is not there, and one that cannot be written is not kept.
"""

import hashlib
import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from uuid import uuid4

import numpy as np

from features.audit import DIGEST_BYTES, Audit
from features.file_state import FileState
from features.fingerprint import audit_version, settings_hash
from features.store.cache import ShardCache
from features.store.shard import checksum_of

KEPT = 8
"""Records that are kept; the least recently used goes first. One takes 16 bytes a clip."""

RECORD = re.compile(r"[0-9a-f]{32}\.(partial-)?[0-9a-f]{32}")
"""Name of a record, ``<key>.<checksum>``, or of what a killed run left of one."""

_COUNTS = np.dtype("<i8")


@dataclass(frozen=True)
class AuditCache:
    """A folder of audits, each under the state of its file and the code that made it.

    Attributes
    ----------
    folder : Path
    """

    folder: Path

    @classmethod
    def beside(cls, shards: ShardCache) -> Self:
        """That of a shard cache."""
        return cls(shards.folder / "audits")

    def recall(self, state: FileState, clips: int) -> Audit | None:
        """Find what was found when the file was in this state; a damaged record is removed."""
        for path in self.folder.glob(f"{_key(state)}.*"):
            with suppress(OSError):
                content = path.read_bytes()
                audit = _decoded(content)
                if checksum_of(content).digest == path.suffix[1:] and audit and len(audit.digests) == clips:
                    with suppress(OSError):  # somebody else's, in a shared cache
                        os.utime(path)
                    return audit
                path.unlink()
        return None

    def keep(self, state: FileState, audit: Audit) -> None:
        """Keep what was found in a file that was in this state before and after, if that says enough."""
        if not state.settled:
            return
        content = _encoded(audit)
        partial = self.folder / f"{_key(state)}.partial-{uuid4().hex}"
        with suppress(OSError):
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                partial.write_bytes(content)
                partial.replace(self.folder / f"{_key(state)}.{checksum_of(content).digest}")
            finally:
                partial.unlink(missing_ok=True)
            for path in sorted(self._records(), key=lambda path: -path.stat().st_mtime_ns)[KEPT:]:
                path.unlink()

    def forget(self, state: FileState) -> None:
        """Remove what was found when the file was in this state."""
        for path in self.folder.glob(f"{_key(state)}.*"):
            path.unlink(missing_ok=True)

    def clear(self) -> None:
        """Remove every record, and nothing else that may lie there."""
        for path in self._records():
            path.unlink(missing_ok=True)

    def _records(self) -> list[Path]:
        try:
            return [path for path in self.folder.iterdir() if RECORD.fullmatch(path.name)]
        except (FileNotFoundError, NotADirectoryError):
            return []


def _key(state: FileState) -> str:
    known = (state.device, state.inode, state.size, state.modified_ns, state.changed_ns)
    return hashlib.blake2b(f"{known} {settings_hash(audit_version())}".encode(), digest_size=16).hexdigest()


def _encoded(audit: Audit) -> bytes:
    return np.array([audit.silent, audit.beyond_full_scale], _COUNTS).tobytes() + audit.digests.tobytes()


def _decoded(content: bytes) -> Audit | None:
    counts = 2 * _COUNTS.itemsize
    if len(content) < counts or (len(content) - counts) % DIGEST_BYTES:
        return None
    silent, beyond = np.frombuffer(content[:counts], _COUNTS).tolist()
    return Audit(np.frombuffer(content[counts:], f"V{DIGEST_BYTES}"), silent, beyond)
