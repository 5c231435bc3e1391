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
    """The largest batch that a training step of a network has memory for; 0 if not even one clip fits."""
    clip_bytes = STEP_SHARE * sum(
        np.prod(layer.output.shape[1:]) * (2 if layer.compute_dtype.endswith("16") else 4) for layer in model.layers
    )
    return max(0, int((free_bytes - 4 * PARAMETER_COPIES * model.count_params()) / clip_bytes))


def free_bytes(root: Path = Path("/")) -> int | None:
    """Bytes that this process can still allocate: the least that the machine, control groups and limits leave.

    ``root`` is the folder that holds ``proc`` and ``sys``. The answer is None on systems other than Linux; see
    ``proc(5)`` and ``cgroups(7)``.
    """
    left = list(_left_by_control_groups(root))
    with suppress(OSError):
        meminfo = dict(line.split(":") for line in (root / "proc/meminfo").read_text().splitlines())
        left.append(int(meminfo["MemAvailable"].split()[0]) * 1024)
    most, _ = resource.getrlimit(resource.RLIMIT_AS)
    if most != resource.RLIM_INFINITY:
        with suppress(OSError):
            pages = int((root / "proc/self/statm").read_text().split()[0])
            left.append(most - pages * resource.getpagesize())
    return max(0, min(left)) if left else None


def _left_by_control_groups(root: Path) -> Iterator[int]:
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
                    left = int((folder / limit).read_text()) - int((folder / usage).read_text())
                    yield left + _page_cache(folder)


def _page_cache(group: Path) -> int:
    """Bytes of a group's page cache, which counts as used and which the system frees on demand."""
    with suppress(OSError, ValueError):
        known = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        return int(known.get("inactive_file", 0)) + int(known.get("active_file", 0))
    return 0
