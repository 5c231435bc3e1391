"""What a training tells while it runs."""

import re
import time
from dataclasses import replace
from pathlib import Path

import pytest
from dvclive.live import Live

from models.history import Epoch
from pipeline.shell import training
from pipeline.shell.progress import progress
from pipeline.shell.training import Report

EPOCH = Epoch(30, 0.0, 2.345, 0.99, 2.345, 0.99)


@pytest.fixture
def report(tmp_path: Path) -> Report:
    with progress("training", 2000) as bar:
        live = Live(str(tmp_path / "live"), save_dvc_exp=False, dvcyaml=False)
        return Report("res_small", epochs=10, clips=160, scored=40, live=live, bar=bar)


def test_the_time_of_all_epochs_is_told_once(
    report: Report, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With validation, without the first steps, without what a checkpoint holds."""
    monkeypatch.setattr(training, "ESTIMATE_S", 0.2)
    report.resume([EPOCH] * 2, 1, batch_size=16)
    report.ready(score_s=1.0)  # 40 s an epoch: what 8 epochs take is this
    time.sleep(0.3)  # while TensorFlow builds its graph
    for _ in range(20):
        report.batch(16)
        time.sleep(0.02)
    told = [line for line in capsys.readouterr().out.splitlines() if "takes about" in line]
    assert len(told) == 1
    found = re.fullmatch(
        r"train: res_small takes about 5 min: 8 epochs of 160 clips at (\d+) clips/s, validation included", told[0]
    )
    assert found, told
    assert 300 < int(found[1]) < 850  # 16 in 0.02 s and a little


def test_short_epochs_tell_the_time_of_the_rest(report: Report, capsys: pytest.CaptureFixture[str]) -> None:
    report.ready(score_s=0.001)
    for number in (1, 2, 3):
        time.sleep(0.2)
        report.batch(160)
        report.score(40)
        report.epoch(replace(EPOCH, epoch=number), seconds=0.2, data_wait_s=0.0)
    (told,) = [line for line in capsys.readouterr().out.splitlines() if "takes about" in line]
    assert re.fullmatch(
        r"train: res_small takes about 2 s more: 8 epochs of 160 clips at \d{3} clips/s, validation included", told
    )


def test_an_epoch_fits_into_80_columns(report: Report, capsys: pytest.CaptureFixture[str]) -> None:
    report.epoch(EPOCH, seconds=123.0, data_wait_s=1.2)
    (line,) = capsys.readouterr().out.splitlines()
    assert line == "res_small 30/10  loss 2.345 val 2.345  right 99.0% val 99.0%  123 s, 1.0% wait"
    assert len(line) <= 80


def test_starving_is_told_at_the_end(report: Report, capsys: pytest.CaptureFixture[str]) -> None:
    report.epoch(EPOCH, seconds=10.0, data_wait_s=1.0)
    report.end()
    assert "res_small waited for data 10% of the time" in capsys.readouterr().err


def test_how_fast_an_epoch_is_leaves_out_what_is_not_whole(report: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither an epoch that began before this run, nor the first of several, in which TensorFlow builds its graph."""
    told: list[tuple[float, float]] = []
    report.on_pace = lambda epoch_s, start_s: told.append((epoch_s, start_s))
    report.started = 92.0
    clock = iter([100.0, 105.0, 135.0, 145.0, 157.0])  # begins, and how each epoch ends
    monkeypatch.setattr(training.time, "monotonic", lambda: next(clock))
    report.resume([EPOCH], 3, batch_size=16)
    report.ready(score_s=0.0)
    for _ in range(4):
        report.epoch(EPOCH, seconds=1.0, data_wait_s=0.0)
    assert told == [(30.0, 8.0), (10.0, 28.0), (11.0, 27.0)]


def test_who_stops_it_is_told_of_the_best_epoch(report: Report) -> None:
    stopped = "res_small stopped by Ctrl-C in epoch"
    assert report.stopped() == f"{stopped} 1 of 10; the next dvc repro goes on from there"
    report.resume([Epoch(1, 0.0, 2.0, 0.4, 1.0, 0.8125)], 1, batch_size=16)
    report.epoch(Epoch(2, 0.0, 2.0, 0.4, 2.0, 0.9), seconds=1.0, data_wait_s=0.0)
    assert report.stopped() == (
        f"{stopped} 3 of 10; best so far epoch 1, 81.2% right on validation; the next dvc repro goes on from there, "
        "or ends there with models.res_small.train.stop_after: 2"
    )
