import os
import pty
import sys
from contextlib import suppress

import pytest

from pipeline.shell.progress import Unit, progress


@pytest.mark.parametrize(("unit", "shown"), [("clips", ["20/20", "clips/s"]), ("bytes", ["20.0/20.0 MB", "MB/s"])])
def test_progress_on_a_terminal(monkeypatch: pytest.MonkeyPatch, unit: Unit, shown: list[str]) -> None:
    total = 20 if unit == "clips" else 20 * 10**6
    reading, writing = pty.openpty()
    monkeypatch.setenv("COLUMNS", "100")
    with os.fdopen(writing, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        with progress("examining", total, unit) as advance:
            advance(total // 2)
            advance(total // 2)
    drawn = ""
    with suppress(OSError):  # the end, as a terminal tells it
        while part := os.read(reading, 10**5):
            drawn += part.decode()
    os.close(reading)
    for part in ("examining", *shown):
        assert part in drawn


def test_progress_elsewhere_is_silent(capfd: pytest.CaptureFixture[str]) -> None:
    with progress("examining", 2) as advance:
        advance(2)
    assert capfd.readouterr() == ("", "")
