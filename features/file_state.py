"""Whether a file is still the one that was looked at."""

import os
import time
from dataclasses import dataclass, field
from typing import Self

SETTLED_NS = 2 * 10**9
"""Longer than any clock of a file system goes from tick to tick."""


@dataclass(frozen=True)
class FileState:
    """What the system changes whenever a program writes to a file or puts another in its place.

    Writing through a memory mapping is the exception: that may show later, or never.
    """

    device: int
    inode: int
    size: int
    modified_ns: int
    changed_ns: int
    """When the file, or anything that is known of it, last changed; most file systems let nobody set it."""
    settled: bool = field(default=True, compare=False)
    """Whether that was so long ago that another change is sure to give another state."""

    @classmethod
    def of(cls, status: os.stat_result) -> Self:
        """The state of a file whose status has just been asked for."""
        settled = time.time_ns() - max(status.st_mtime_ns, status.st_ctime_ns) > SETTLED_NS
        return cls(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns, settled)

    @property
    def written(self) -> tuple[int, int, int]:
        """The part that stays when the file gets another link or other permissions, but not when it is written to."""
        return self.inode, self.size, self.modified_ns

    def written_since(self, now: Self) -> bool:
        """Whether the file was written to or replaced between this state and that."""
        return self.written != now.written
