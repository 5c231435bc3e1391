import os
import time
from pathlib import Path

from features.file_state import FileState


def of(path: Path) -> FileState:
    return FileState.of(path.stat())


def settled(path: Path) -> FileState:
    while not of(path).settled:
        time.sleep(0.1)
    return of(path)


def test_writing_changes_the_state_even_when_the_time_is_set_back(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    path.write_bytes(b"one")
    assert not of(path).settled
    before = settled(path)
    assert of(path) == before
    path.write_bytes(b"two")
    assert before.written_since(of(path))
    os.utime(path, ns=(0, before.modified_ns))
    after = of(path)
    assert after.modified_ns == before.modified_ns
    assert after != before


def test_a_link_changes_the_state_but_not_the_content(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    path.write_bytes(b"one")
    before = settled(path)
    os.link(path, tmp_path / "b.npz")
    assert of(path) != before
    assert not before.written_since(of(path))
    (tmp_path / "c.npz").write_bytes(b"one")
    (tmp_path / "c.npz").replace(path)
    assert before.written_since(of(path))
