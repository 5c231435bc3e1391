"""The order of clips in the training stream: index arithmetic that depends on (seed, epoch) alone and opens no file.

An epoch holds every clip of a store once. It shuffles the chunks, cuts them into windows, and shuffles the clips within
a window. Epochs follow one another without a gap: clips left over at the end of an epoch start the first batch of the
next, so every clip comes equally often.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Order:
    """The order of an endless stream of shuffled clips."""

    clips: int
    """Clips in the store."""
    chunk_clips: int
    """Clips in a chunk; the last one may hold fewer."""
    window_chunks: int
    """Chunks in a shuffle window."""
    seed: int

    @property
    def windows(self) -> int:
        """Windows in an epoch."""
        return -(-self.clips // (self.chunk_clips * self.window_chunks))

    def window(self, number: int) -> NDArray[np.int64]:
        """Clips of one shuffle window, in the order of the stream; windows are numbered through all epochs.

        Returns
        -------
        int64 array, shape (clips in the window,)

        Examples
        --------
        >>> order = Order(clips=10, chunk_clips=2, window_chunks=3, seed=0)
        >>> order.window(0).tolist(), order.window(1).tolist()
        ([9, 8, 7, 6, 4, 5], [3, 1, 2, 0])
        """
        epoch, within = divmod(number, self.windows)
        chunks = _shuffled(-(-self.clips // self.chunk_clips), self.seed, epoch)
        chunks = chunks[within * self.window_chunks :][: self.window_chunks]
        clips = (chunks[:, np.newaxis] * self.chunk_clips + np.arange(self.chunk_clips)).reshape(-1)
        return np.random.default_rng([self.seed, epoch, within]).permutation(clips[clips < self.clips])

    def find(self, position: int) -> tuple[int, int]:
        """Find the window that holds a position of the stream.

        Parameters
        ----------
        position : int
            Number of clips before it in the stream, over all epochs.

        Returns
        -------
        (int, int)
            Number of the window, and number of clips before the position in that window.

        Examples
        --------
        >>> Order(clips=10, chunk_clips=2, window_chunks=3, seed=0).find(17)
        (3, 1)
        """
        epoch, left = divmod(position, self.clips)
        window = epoch * self.windows
        while left >= (clips := len(self.window(window))):
            window, left = window + 1, left - clips
        return window, left


@lru_cache(maxsize=2)
def _shuffled(chunks: int, seed: int, epoch: int) -> NDArray[np.int64]:
    return np.random.default_rng([seed, epoch]).permutation(chunks)
