from pathlib import Path

import pytest

from features.errors import InputError
from pipeline.cache import parse_size, shard_cache


@pytest.mark.parametrize("place", [".", ".dvc/tmp/exps/tmpabc", ".dvc/tmp/exps/standalone/tmpabc"])
def test_queued_experiments_share_the_projects_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    (tmp_path / place).mkdir(parents=True, exist_ok=True)
    monkeypatch.chdir(tmp_path / place)
    assert shard_cache(None).folder == tmp_path / ".cache/features"
    assert shard_cache(Path("/elsewhere")).folder == Path("/elsewhere")


@pytest.mark.parametrize(
    ("text", "size"),
    [("0", 0), ("500", 500), ("20GB", 20 * 10**9), ("1.5 M", 1_500_000), ("3kB", 3000), ("2TB", 2 * 10**12)],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "GB", "-1", "1e9", "20 GiB", "lots"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(InputError, match="expected a number of bytes, such as 20GB"):
        parse_size(text)
