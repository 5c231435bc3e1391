"""What a training tells while it runs: lines and a bar for a person, DVCLive's files for plots."""

import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from models.history import Epoch, best_of
from pipeline.shell.progress import Bar, duration
from pipeline.shell.stage import counted, say, warn

if TYPE_CHECKING:
    from dvclive.live import Live

STARVED = 0.05
"""Share of a training spent waiting for data above which a warning is printed."""
ESTIMATE_S = 5.0
"""Seconds of training steps from which the time of all of them is estimated."""
FIRST_STEPS = 2
"""Steps that are not counted for it, because TensorFlow builds its graph in them."""


@dataclass
class Report:
    """Reports a training while it runs: lines and a bar for a person, DVCLive's files for plots."""

    model: str
    epochs: int
    clips: int
    """Clips of the training set that an epoch takes."""
    scored: int
    """Clips of the validation set."""
    live: "Live"
    bar: Bar
    check: Callable[[], None] = lambda: None
    """Called after each step and each scored batch; what it raises ends the training."""
    on_pace: Callable[[float, float], None] = lambda epoch_s, start_s: None
    """Told after each epoch the seconds of one, validation included, and those of what comes once."""
    started: float = field(default_factory=time.monotonic)
    """When the stage began to load TensorFlow."""
    seconds: float = 0.0
    """Of all steps so far."""
    waited_s: float = 0.0
    """Of these, waiting for data."""
    _score_s: float = 0.0
    _steps: list[tuple[float, int]] = field(default_factory=list)
    """When each of the first steps ended, and its clips."""
    _finished: int = 0
    """Epochs before this run."""
    _history: list[Epoch] = field(default_factory=list)
    """Those before this run included."""
    _is_cut: bool = False
    """Whether the epoch began before this run."""
    _began: float = 0.0
    """When the epoch began."""
    _start_s: float = 0.0
    """Until the first epoch began."""
    _epochs_s: list[float] = field(default_factory=list)
    """How long each epoch took, without one that began before this run."""
    _has_estimated: bool = False

    def resume(self, before: list[Epoch], batches: int, batch_size: int) -> None:
        """Report what a checkpoint holds."""
        done = f"{counted(len(before), 'epoch')} and {counted(batches, 'batch', 'batches')}"
        say(f"train: {self.model} goes on from a checkpoint after {done}")
        self._finished, self._history = len(before), list(before)
        self._is_cut = batches > 0
        self.bar.skip(len(before) * (self.clips + self.scored) + batches * batch_size)
        for epoch in before:
            self._plot(epoch)

    def ready(self, score_s: float) -> None:
        """Take the seconds that scoring a clip takes; training begins now."""
        self._score_s, self._began = score_s, time.monotonic()
        self._start_s = self._began - self.started
        self._describe(self._finished)

    def batch(self, clips: int) -> None:
        """Report a step."""
        self.check()
        self.bar(clips)
        if not self._has_estimated:
            self._steps.append((time.monotonic(), clips))
            self._estimate()

    def score(self, clips: int) -> None:
        """Report a batch of the validation set."""
        self.check()
        self.bar.describe(f"{self.model} validating")
        self.bar(clips)
        self._steps.clear()  # the next step begins later than this one ended

    def epoch(self, epoch: Epoch, seconds: float, data_wait_s: float) -> None:
        """Report a finished epoch."""
        self._plot(epoch)
        self._history.append(epoch)
        self._measure()
        self.seconds += seconds
        self.waited_s += data_wait_s
        data_wait = data_wait_s / seconds if seconds else 0.0
        say(
            f"{self.model} {epoch.epoch}/{self.epochs}  loss {epoch.loss:.3f} val {epoch.val_loss:.3f}  "
            f"right {epoch.accuracy:.1%} val {epoch.val_accuracy:.1%}  {seconds:.0f} s, {data_wait:.1%} wait"
        )
        self._estimate_by_epochs(self.epochs - epoch.epoch)
        self._describe(epoch.epoch)

    def stopped(self) -> str:
        """How far the training has come, for someone who stopped it."""
        running = f"{self.model} stopped by Ctrl-C in epoch {min(len(self._history) + 1, self.epochs)} of {self.epochs}"
        if not self._history:
            return f"{running}; the next dvc repro goes on from there"
        best = best_of(self._history)
        return (
            f"{running}; best so far epoch {best.epoch}, {best.val_accuracy:.1%} right on validation; the next dvc "
            f"repro goes on from there, or ends there with models.{self.model}.train.stop_after: {len(self._history)}"
        )

    def end(self) -> None:
        """Report the whole."""
        self.live.end()
        if self.waited_s > STARVED * self.seconds:
            warn(
                f"{self.model} waited for data {self.waited_s / self.seconds:.0%} of the time; a faster disk, more "
                "memory for the page cache, store.dtype: float16 or store.codec: none would feed it faster"
            )

    def _describe(self, finished: int) -> None:
        self.bar.describe(f"{self.model} {min(finished + 1, self.epochs)}/{self.epochs}")

    def _measure(self) -> None:
        """Tell how long an epoch takes: the first one only where there is no other, because graphs are built in it."""
        ended = time.monotonic()
        if not self._is_cut:
            self._epochs_s.append(ended - self._began)
            epoch_s = statistics.mean(self._epochs_s[1:] or self._epochs_s)
            self.on_pace(epoch_s, self._start_s + max(0.0, self._epochs_s[0] - epoch_s))
        self._is_cut, self._began = False, ended

    def _estimate(self) -> None:
        """Say how long the training will take, once some steps are known."""
        measured = self._steps[FIRST_STEPS - 1 :]
        if not measured or measured[-1][0] - measured[0][0] < ESTIMATE_S:
            return
        rate = sum(clips for _, clips in measured[1:]) / (measured[-1][0] - measured[0][0])
        self._tell(self.epochs - self._finished, self.clips / rate + self.scored * self._score_s, rate)

    def _estimate_by_epochs(self, left: int) -> None:
        """The same where epochs are too short: once one is known in which TensorFlow built no graph."""
        if left and len(self._epochs_s) > 1 and not self._has_estimated:
            self._tell(left, self._epochs_s[-1], self.clips / self._epochs_s[-1], "more")

    def _tell(self, epochs: int, epoch_s: float, rate: float, more: str = "") -> None:
        self._has_estimated = True
        say(
            f"train: {self.model} takes about {duration(epochs * epoch_s)}{more and f' {more}'}: "
            f"{counted(epochs, 'epoch')} of {self.clips:,} clips at {rate:,.0f} clips/s, validation included"
        )

    def _plot(self, epoch: Epoch) -> None:
        self.live.step = epoch.epoch
        for name, value in asdict(epoch).items():
            if name != "epoch":
                self.live.log_metric(f"val/{name[4:]}" if name.startswith("val_") else f"train/{name}", value)
        self.live.next_step()
