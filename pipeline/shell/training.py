"""What a training tells while it runs: lines for a person, DVCLive's files for plots."""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from models.history import Epoch
from pipeline.shell.stage import counted, say, warn

if TYPE_CHECKING:
    from dvclive.live import Live

STARVED = 0.05
"""Share of a training spent waiting for data above which a warning is printed."""


@dataclass
class Report:
    """Reports a training while it runs: lines for a person, DVCLive's files for plots."""

    model: str
    epochs: int
    live: "Live"
    seconds: float = 0.0
    """Of all steps so far."""
    waited_s: float = 0.0
    """Of these, waiting for data."""

    def resume(self, before: list[Epoch], batches: int) -> None:
        """Report what a checkpoint holds."""
        done = f"{counted(len(before), 'epoch')} and {counted(batches, 'batch', 'batches')}"
        say(f"train: {self.model} goes on from a checkpoint after {done}")
        for epoch in before:
            self._plot(epoch)

    def epoch(self, epoch: Epoch, seconds: float, data_wait_s: float) -> None:
        """Report a finished epoch."""
        self._plot(epoch)
        self.seconds += seconds
        self.waited_s += data_wait_s
        data_wait = data_wait_s / seconds if seconds else 0.0
        say(
            f"train: {self.model} {epoch.epoch}/{self.epochs}  loss {epoch.loss:.3f} val {epoch.val_loss:.3f}  "
            f"acc {epoch.accuracy:.3f} val {epoch.val_accuracy:.3f}  "
            f"{seconds:.0f} s, {data_wait:.1%} waiting for data"
        )

    def end(self) -> None:
        """Report the whole."""
        self.live.end()
        if self.waited_s > STARVED * self.seconds:
            warn(
                f"{self.model} waited for data {self.waited_s / self.seconds:.0%} of the time; a faster disk, more "
                "memory for the page cache, store.dtype: float16 or store.codec: none would feed it faster"
            )

    def _plot(self, epoch: Epoch) -> None:
        self.live.step = epoch.epoch
        for name, value in asdict(epoch).items():
            if name != "epoch":
                self.live.log_metric(f"val/{name[4:]}" if name.startswith("val_") else f"train/{name}", value)
        self.live.next_step()
