from pathlib import Path

import keras
import pytest

from models.training.memory import free_bytes, largest_batch

MEMINFO = "MemTotal: 9000 kB\nMemFree: 1000 kB\nMemAvailable: 8000 kB\n"
UNLIMITED = str(2**63 - 4096)


def system(root: Path, group: str, files: dict[str, str]) -> Path:
    """What Linux says of memory, made up."""
    for name, content in {"proc/meminfo": MEMINFO, "proc/self/cgroup": group, **files}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    return root


@pytest.mark.parametrize(
    ("group", "files", "expected"),
    [
        ("", {}, 8000 * 1024),
        ("0::/a/b\n", {"a/b/memory.max": "max", "a/b/memory.current": "5"}, 8000 * 1024),
        ("0::/a/b\n", {"a/b/memory.max": "700", "a/b/memory.current": "500"}, 200),
        ("0::/a/b\n", {"a/memory.max": "700", "a/memory.current": "500"}, 200),
        ("0::/\n", {"memory.max": "700", "memory.current": "500", "memory.stat": "anon 9\ninactive_file 50\n"}, 250),
        ("0::/\n", {"memory.max": "700", "memory.current": "900"}, 0),
        ("4:memory:/x\n", {"memory/x/memory.limit_in_bytes": "70", "memory/x/memory.usage_in_bytes": "50"}, 20),
        ("4:cpu,memory:/x\n", {"memory/memory.limit_in_bytes": "70", "memory/memory.usage_in_bytes": "50"}, 20),
        ("4:memory:/\n", {"memory/memory.limit_in_bytes": UNLIMITED, "memory/memory.usage_in_bytes": "5"}, 8192000),
        ("3:cpu:/x\n", {"memory/x/memory.limit_in_bytes": "70", "memory/x/memory.usage_in_bytes": "50"}, 8192000),
    ],
)
def test_free_is_the_least_that_anything_leaves(
    tmp_path: Path, group: str, files: dict[str, str], expected: int
) -> None:
    root = system(tmp_path, group, {f"sys/fs/cgroup/{name}": content for name, content in files.items()})
    assert free_bytes(root) == expected


def test_free_is_unknown_where_the_system_does_not_say(tmp_path: Path) -> None:
    assert free_bytes(tmp_path) is None


def test_the_largest_batch_grows_with_memory_and_with_half_the_bits() -> None:
    def network(policy: str) -> keras.Model:
        image = keras.Input((32, 32, 1))
        return keras.Model(image, keras.layers.Conv2D(64, 3, padding="same", dtype=policy)(image))

    outputs = 4 * (32 * 32 + 32 * 32 * 64)
    assert largest_batch(network("float32"), 10_000_000) == pytest.approx(10_000_000 / outputs / 1.25, abs=1)
    assert largest_batch(network("mixed_bfloat16"), 10_000_000) > 1.9 * largest_batch(network("float32"), 10_000_000)
    assert largest_batch(network("float32"), 1000) == 0
