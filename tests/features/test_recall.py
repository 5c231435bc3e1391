import dataclasses
import os
from pathlib import Path

import numpy as np
import pytest

from features.audit import Audit
from features.file_state import FileState
from features.recall import KEPT, AuditCache

AUDIT = Audit(np.frombuffer(np.random.default_rng(0).bytes(160), "V16"), silent=3, beyond_full_scale=1)


@pytest.fixture
def audits(tmp_path: Path) -> AuditCache:
    return AuditCache(tmp_path / "cache/audits")


def state(**changes: int) -> FileState:
    return FileState(**{"device": 1, "inode": 2, "size": 3, "modified_ns": 4, "changed_ns": 5, **changes})


def test_what_was_kept_is_recalled(audits: AuditCache) -> None:
    assert audits.recall(state(), 10) is None
    audits.keep(state(), AUDIT)
    found = audits.recall(state(), 10)
    assert found is not None
    assert (found.silent, found.beyond_full_scale) == (3, 1)
    np.testing.assert_array_equal(found.digests, AUDIT.digests)
    assert found.digests.dtype == AUDIT.digests.dtype


@pytest.mark.parametrize("name", ["device", "inode", "size", "modified_ns", "changed_ns"])
def test_a_file_that_was_touched_is_another(audits: AuditCache, name: str) -> None:
    audits.keep(state(), AUDIT)
    assert audits.recall(state(**{name: 9}), 10) is None


def test_of_a_file_that_may_still_change_unseen_nothing_is_kept(audits: AuditCache) -> None:
    fresh = dataclasses.replace(state(), settled=False)
    audits.keep(fresh, AUDIT)
    assert audits.recall(fresh, 10) is None


@pytest.mark.parametrize(
    "damage", [lambda content: content[:-1], lambda content: content[:-1] + b"?", lambda content: b""]
)
def test_a_damaged_record_is_thrown_away(audits: AuditCache, damage) -> None:
    audits.keep(state(), AUDIT)
    (path,) = audits.folder.iterdir()
    path.write_bytes(damage(path.read_bytes()))
    assert audits.recall(state(), 10) is None
    assert not path.exists()


def test_what_is_forgotten_is_not_recalled(audits: AuditCache) -> None:
    for inode in (1, 2):
        audits.keep(state(inode=inode), AUDIT)
    audits.forget(state(inode=1))
    assert [audits.recall(state(inode=inode), 10) is not None for inode in (1, 2)] == [False, True]


def test_files_of_others_stay(audits: AuditCache) -> None:
    audits.folder.mkdir(parents=True)
    mine = [audits.folder / f"mine-{number}.pdf" for number in range(2 * KEPT)]
    for path in mine:
        path.write_text("mine")
    for inode in range(KEPT + 1):
        audits.keep(state(inode=inode), AUDIT)
    audits.clear()
    assert sorted(audits.folder.iterdir()) == sorted(mine)


def test_what_killed_runs_left_goes_in_time(audits: AuditCache) -> None:
    audits.folder.mkdir(parents=True)
    left = audits.folder / f"{'0' * 32}.partial-{'1' * 32}"
    left.write_bytes(b"half")
    os.utime(left, (0, 0))
    for inode in range(KEPT):
        audits.keep(state(inode=inode), AUDIT)
    assert not left.exists()
    assert len(list(audits.folder.iterdir())) == KEPT


def test_a_folder_that_cannot_be_used_costs_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    audits = AuditCache(tmp_path / "file/audits")
    audits.keep(state(), AUDIT)
    assert audits.recall(state(), 10) is None


def test_the_least_recently_used_go_first(audits: AuditCache) -> None:
    for inode in range(KEPT + 3):
        audits.keep(state(inode=inode), AUDIT)
        for number, path in enumerate(sorted(audits.folder.iterdir(), key=lambda path: path.stat().st_mtime_ns)):
            os.utime(path, (number, number))
        if inode == KEPT - 1:
            assert audits.recall(state(inode=0), 10)
    assert [audits.recall(state(inode=inode), 10) is not None for inode in range(4)] == [True, False, False, False]
    assert len(list(audits.folder.iterdir())) == KEPT
    audits.clear()
    assert audits.recall(state(inode=0), 10) is None
