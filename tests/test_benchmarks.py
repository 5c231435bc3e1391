"""The benchmarks still run: small, and without a look at their figures."""

import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("memory.py --clips 600", "MiB"),
        ("end_to_end.py --clips 300 --rounds 1", "verifying it"),
        ("streaming.py --clips 600 --rounds 1", "TFRecord"),
        ("rerun.py --clips 300 --repeats 1", "nothing to do"),
    ],
)
def test_a_benchmark_runs_to_its_end(tmp_path: Path, command: str, expected: str) -> None:
    script, *arguments = command.split()
    done = subprocess.run(
        [sys.executable, BENCHMARKS / script, *arguments, "--folder", tmp_path],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert expected in done.stdout
    assert not list(tmp_path.iterdir()), "it left something behind"
