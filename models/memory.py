"""Memory: how much a training step needs, and how much is free.

TensorFlow crashes with a segmentation fault when memory runs out, so a batch that is too large must be refused before
the first step.
"""

import resource
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import keras
import numpy as np

STEP_SHARE = 1.25
"""Memory of a step, relative to that of all layers' outputs; 1.1 to 1.2 was measured, gradients included."""
PARAMETER_COPIES = 6
"""Copies of the weights in float32: the gradient, Adam's two moments, and temporaries of an update."""


def largest_batch(model: keras.Model, free_bytes: int) -> int:
    """The largest batch that a training step has memory for.

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
    """Bytes that this process can still allocate: the least that the machine, control groups and limits leave.

    Parameters
    ----------
    root : Path
        Folder that holds ``proc`` and ``sys``.

    Returns
    -------
    int or None
        None on systems other than Linux (see ``proc(5)`` and ``cgroups(7)``).
    """
    left = [*_of_the_machine(root), *_of_control_groups(root), *_of_the_limit(root)]
    return max(0, min(left)) if left else None


def _of_the_machine(root: Path) -> Iterator[int]:
    with suppress(OSError):
        for line in (root / "proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                yield int(line.split()[1]) * 1024


def _of_control_groups(root: Path) -> Iterator[int]:
    """What each control group of this process, and each of its parents, has left; versions 1 and 2."""
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
    """Bytes of a group's page cache, which the system frees on demand."""
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
