"""The installed commands, started beside another project."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("command", ["features", "models"])
@pytest.mark.parametrize("package", ["features", "models", "pipeline"])
def test_a_package_of_the_same_name_in_another_project(tmp_path: Path, command: str, package: str) -> None:
    (tmp_path / package).mkdir()
    (tmp_path / package / "__init__.py").touch()
    done = subprocess.run(
        [Path(sys.executable).with_name(command), "--help"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert f"Usage: {command} " in done.stdout
