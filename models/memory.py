"""Memory: what a training step takes, and what is free for it.

TensorFlow ends a process that cannot get memory with a segmentation fault, so a batch that is too large has to be found
before the first step.
"""

import resource
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import keras
import numpy as np

STEP_SHARE = 1.25
"""Memory of a step over that of all layers' outputs; 1.1 to 1.2 was measured, gradients included."""
PARAMETER_COPIES = 6
"""Copies of the weights in float32: a gradient, Adam's two moments, and what an update takes."""


def largest_batch(model: keras.Model, free_bytes: int) -> int:
    """How many clips a training step can take.

    Parameters
    ----------
    model : keras.Model
        The network as it is trained.
    free_bytes : int

    Returns
    -------
    int
        0 if not even one fits.
    """
    clip_bytes = STEP_SHARE * sum(
        np.prod(layer.output.shape[1:]) * (2 if layer.compute_dtype.endswith("16") else 4) for layer in model.layers
    )
    return max(0, int((free_bytes - 4 * PARAMETER_COPIES * model.count_params()) / clip_bytes))


def free_bytes(root: Path = Path("/")) -> int | None:
    """Bytes that this process can still take: what the machine has free, and what control groups and limits leave.

    Parameters
    ----------
    root : Path
        Where ``proc`` and ``sys`` lie.

    Returns
    -------
    int or None
        None where the system does not say, as it does on Linux (see ``proc(5)`` and ``cgroups(7)``).
    """
    left = [*_of_the_machine(root), *_of_control_groups(root), *_of_the_limit(root)]
    return max(0, min(left)) if left else None


def _of_the_machine(root: Path) -> Iterator[int]:
    with suppress(OSError):
        for line in (root / "proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                yield int(line.split()[1]) * 1024


def _of_control_groups(root: Path) -> Iterator[int]:
    """What each group that this process is in, and each around it, has left, in versions 1 and 2."""
    with suppress(OSError):
        for line in (root / "proc/self/cgroup").read_text().splitlines():
            _, controllers, inside = line.split(":", 2)
            if controllers == "":
                top, limit, usage = "sys/fs/cgroup", "memory.max", "memory.current"
            elif "memory" in controllers.split(","):
                top, limit, usage = "sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes"
            else:
                continue
            group = root / top / inside.lstrip("/")
            for folder in (group, *group.parents):
                with suppress(OSError, ValueError):  # no such file, or "max"
                    most, used = int((folder / limit).read_text()), int((folder / usage).read_text())
                    yield most - used + _reclaimable(folder)


def _reclaimable(folder: Path) -> int:
    """Bytes of a group's page cache, which the system gives up when it needs them."""
    with suppress(OSError, ValueError):
        known = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        return int(known.get("inactive_file", 0)) + int(known.get("active_file", 0))
    return 0


def _of_the_limit(root: Path) -> Iterator[int]:
    most, _ = resource.getrlimit(resource.RLIMIT_AS)
    if most != resource.RLIM_INFINITY:
        with suppress(OSError):
            pages = int((root / "proc/self/statm").read_text().split()[0])
            yield most - pages * resource.getpagesize()
