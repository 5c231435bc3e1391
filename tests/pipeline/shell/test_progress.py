"""What a person sees while a step goes on: on a terminal, and where the output is piped."""

import os
import pty
import re
import sys
import time
from contextlib import suppress

import pytest

from pipeline.shell import progress as module
from pipeline.shell.progress import Unit, progress, working


def read_all(terminal: int) -> str:
    drawn = b""
    with suppress(OSError):  # the end, as a terminal tells it
        while part := os.read(terminal, 10**5):
            drawn += part
    os.close(terminal)
    return drawn.decode()


@pytest.mark.parametrize(("unit", "shown"), [("clips", ["20/20", "clips/s"]), ("bytes", ["20.0/20.0 MB", "MB/s"])])
def test_progress_on_a_terminal(monkeypatch: pytest.MonkeyPatch, unit: Unit, shown: list[str]) -> None:
    total = 20 if unit == "clips" else 20 * 10**6
    reading, writing = pty.openpty()
    monkeypatch.setenv("COLUMNS", "80")
    with os.fdopen(writing, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        with progress("examining", total, unit) as bar:
            bar(total // 2)
            time.sleep(0.2)
            bar.describe("looking again")
            bar(total // 2)
    drawn = read_all(reading)
    for part in ("examining", "looking again", " left", *shown):
        assert part in drawn


def test_what_a_library_keeps_while_it_is_loaded_is_standard_output_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """colorama keeps it, and resets the terminal when the process ends; rich would write the reset as a word."""
    reading, writing = pty.openpty()
    with os.fdopen(writing, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        monkeypatch.setattr(sys, "stdout", terminal)
        with working("base: loading TensorFlow"):
            kept = sys.stdout
            time.sleep(0.2)
        kept.write("\x1b[0mend")
    drawn = read_all(reading)
    assert "base: loading TensorFlow" in drawn
    assert drawn.endswith("\x1b[0mend")


def test_what_an_earlier_run_finished_counts_for_no_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    with progress("training", 1000) as bar:
        bar.skip(900)
        assert bar.left == ""
        time.sleep(0.1)
        bar(10)
        assert 20 < bar.per_s < 101
        assert re.fullmatch(r"\d+ s left", bar.left)
        assert bar.done == 910


def test_a_short_step_is_silent_elsewhere(capfd: pytest.CaptureFixture[str]) -> None:
    with working("loading"), progress("examining", 2) as bar:
        bar(2)
    assert capfd.readouterr() == ("", "")


def test_a_long_step_prints_a_line_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "FIRST_S", 0.1)
    monkeypatch.setattr(module, "NEXT_S", 0.1)
    with progress("examining", 40) as bar:
        for _ in range(40):
            bar(1)
            time.sleep(0.01)
    out, err = capfd.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert 2 <= len(lines) <= 4
    assert all(re.fullmatch(r"examining: \d+%, \d+ clips/s, \d+ s left", line) for line in lines)


def test_a_step_of_unknown_length_says_that_it_goes_on(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "FIRST_S", 0.1)
    monkeypatch.setattr(module, "NEXT_S", 0.1)
    with working("base: loading TensorFlow"):
        time.sleep(0.35)
    assert capfd.readouterr().err.splitlines() == ["base: loading TensorFlow ..."] * 3
