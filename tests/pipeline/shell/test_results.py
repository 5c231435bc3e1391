import os
from pathlib import Path

import pytest

from features.store.cache import Usage
from pipeline.shell.results import Results, result_key

KEYS = [f"{number:032x}" for number in range(4)]


@pytest.fixture
def results(tmp_path: Path) -> Results:
    return Results(tmp_path / "results")


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """A file, and a folder with a folder in it."""
    (tmp_path / "made/plots/val").mkdir(parents=True)
    (tmp_path / "made.csv").write_text("a,b\n")
    (tmp_path / "made/metrics.json").write_text("{}")
    (tmp_path / "made/plots/val/loss.tsv").write_bytes(bytes(range(256)) * 100)
    return {"history.csv": tmp_path / "made.csv", "live": tmp_path / "made"}


def taken(results: Results, key: str, folder: Path) -> dict[str, bytes] | None:
    if not results.take(key, {"history.csv": folder / "h.csv", "live": folder / "live"}):
        assert not folder.exists()
        return None
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_is_kept_is_taken_to_the_byte(results: Results, files: dict[str, Path], tmp_path: Path) -> None:
    assert taken(results, KEYS[0], tmp_path / "none") is None
    results.keep(KEYS[0], files)
    assert taken(results, KEYS[1], tmp_path / "none") is None
    assert taken(results, KEYS[0], tmp_path / "there") == {
        "h.csv": b"a,b\n",
        "live/metrics.json": b"{}",
        "live/plots/val/loss.tsv": bytes(range(256)) * 100,
    }
    assert not results.take(KEYS[0], {"another.csv": tmp_path / "none"})


def test_equal_results_are_one_file(results: Results, files: dict[str, Path]) -> None:
    results.keep(KEYS[0], files)
    (entry,) = results.entries()
    os.utime(files["history.csv"], (1, 1))
    results.keep(KEYS[0], files)
    assert results.entries() == [entry]


def test_no_damage_is_taken(results: Results, files: dict[str, Path], tmp_path: Path) -> None:
    results.keep(KEYS[0], files)
    (entry,) = results.entries()
    entry.chmod(0o644)
    content = entry.read_bytes()
    for at in range(0, len(content), 997):
        entry.write_bytes(content[:at] + bytes([content[at] ^ 4]) + content[at + 1 :])
        assert taken(results, KEYS[0], tmp_path / "none") is None
    entry.write_bytes(content[:-1])
    assert taken(results, KEYS[0], tmp_path / "none") is None
    results.keep(KEYS[0], files)
    assert taken(results, KEYS[0], tmp_path / "there")


def test_a_taken_result_counts_as_just_used(results: Results, files: dict[str, Path], tmp_path: Path) -> None:
    for number, key in enumerate(KEYS):
        results.keep(key, files)
        (entry,) = results.folder.glob(f"*/{key}.*")
        os.utime(entry, (1000 + number, 1000 + number))
    size = entry.stat().st_size
    assert results.usage() == Usage(4, 4 * size)
    assert results.take(KEYS[0], {"history.csv": tmp_path / "h.csv"})
    assert results.prune(4 * size) == Usage(0, 0)
    assert results.prune(2 * size + 1) == Usage(2, 2 * size)
    assert {path.name.split(".")[0] for path in results.entries()} == {KEYS[0], KEYS[3]}


def test_failing_to_keep_is_no_error(
    results: Results, files: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    results.folder.write_text("a file")
    results.keep(KEYS[0], files)
    assert "warning: this result could not be kept in " in capsys.readouterr().err
    assert results.usage() == results.prune(0) == Usage(0, 0)


def test_a_key_is_of_settings_code_and_libraries() -> None:
    key = result_key([{"a": 1}], ["features.corpus"], ["numpy"])
    assert key == result_key([{"a": 1}], ["features.corpus"], ["numpy"])
    others = [
        result_key([{"a": 2}], ["features.corpus"], ["numpy"]),
        result_key([{"a": 1}], ["features.errors"], ["numpy"]),
        result_key([{"a": 1}], ["features.corpus"], ["scipy"]),
    ]
    assert len({key, *others}) == 4
