import subprocess
import sys
from pathlib import Path

from features.compiled import KEPT

MODULE = """
import numpy as np

from features.compiled import compiled


@compiled
def fill(out):
    for i in range(out.size):
        out[i] = {value}
"""

RUN = """
import sys

sys.path.insert(0, {folder!r})
import module
import numpy as np

out = np.zeros(3)
module.fill(out)
print(out[2])
"""

ROOM = 3000
FULL = f"""
import resource

resource.setrlimit(resource.RLIMIT_FSIZE, ({ROOM}, {ROOM}))
"""


def run(folder: Path, before: str = "") -> str:
    """What the module fills an array with, in a process of its own."""
    code = before + RUN.format(folder=str(folder))
    done = subprocess.run([sys.executable, "-B", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def write(folder: Path, value: float) -> None:
    (folder / "module.py").write_text(MODULE.format(value=value))


def kept(folder: Path) -> dict[Path, int]:
    """What is kept, and when it was written."""
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file() and path.suffix != ".py"}


def test_what_was_compiled_is_used_again(tmp_path: Path) -> None:
    write(tmp_path, 1)
    assert run(tmp_path) == "1.0"
    before = kept(tmp_path)
    assert len(before) == 3, "an index, the code, and their checksums"
    assert run(tmp_path) == "1.0"
    assert kept(tmp_path) == before


def test_what_was_edited_is_compiled_anew_and_versions_of_long_ago_go(tmp_path: Path) -> None:
    for value in (0, 1, 2, 3, 4, 0):
        write(tmp_path, value)
        assert run(tmp_path) == f"{value}.0"
    assert len(list((tmp_path / "__pycache__").glob("module.*"))) == KEPT


def test_a_disk_that_is_full_leaves_no_old_code_under_a_new_note(tmp_path: Path) -> None:
    write(tmp_path, 1)
    assert run(tmp_path) == "1.0"
    sizes = sorted(path.stat().st_size for path in kept(tmp_path))
    assert sizes[1] < ROOM < sizes[2], "room for the index, not for the code"
    write(tmp_path, 2)
    assert run(tmp_path, FULL) == "2.0", "it need not be kept"
    assert run(tmp_path) == "2.0"


def test_what_is_damaged_is_compiled_anew(tmp_path: Path) -> None:
    write(tmp_path, 1)
    run(tmp_path)
    for suffix in (".nbi", ".nbc"):
        for damage in (lambda content: b"", lambda content: content[:-1] + bytes([content[-1] ^ 1])):
            (path,) = tmp_path.rglob(f"*{suffix}")
            content = path.read_bytes()
            path.write_bytes(damage(content))
            assert run(tmp_path) == "1.0"
            (path,) = tmp_path.rglob(f"*{suffix}")
            assert len(path.read_bytes()) == len(content)


def test_where_nothing_can_be_kept_each_process_compiles(tmp_path: Path) -> None:
    write(tmp_path, 1)
    (tmp_path / "__pycache__").write_text("no folder")
    assert run(tmp_path) == "1.0"
