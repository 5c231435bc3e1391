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
    """The order of an endless stream of shuffled clips.

    Attributes
    ----------
    clips : int
        Clips in the store.
    chunk_clips : int
        Clips in a chunk; the last one may hold fewer.
    window_chunks : int
        Chunks in a shuffle window.
    seed : int
        Same seed, same order.
    """

    clips: int
    chunk_clips: int
    window_chunks: int
    seed: int

    @property
    def chunks(self) -> int:
        """Chunks in the store."""
        return -(-self.clips // self.chunk_clips)

    @property
    def windows(self) -> int:
        """Windows in an epoch."""
        return -(-self.chunks // self.window_chunks)

    def window(self, number: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """One shuffle window of the stream, numbered through all epochs.

        Returns
        -------
        chunks : int64 array
            Numbers of the chunks to read.
        permutation : int64 array
            Order of their clips: positions in :func:`clips_of` of these chunks.

        Examples
        --------
        >>> chunks, permutation = Order(clips=10, chunk_clips=2, window_chunks=3, seed=0).window(1)
        >>> len(chunks), sorted(permutation.tolist())
        (2, [0, 1, 2, 3])
        """
        epoch, within = divmod(number, self.windows)
        chunks = _shuffled_chunks(self.chunks, self.seed, epoch)[within * self.window_chunks :][: self.window_chunks]
        rng = np.random.default_rng([self.seed, epoch, within])
        return chunks, rng.permutation(len(clips_of(chunks, self.chunk_clips, self.clips)))

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
        for window in range(epoch * self.windows, (epoch + 1) * self.windows):
            clips = len(self.window(window)[1])
            if left < clips:
                return window, left
            left -= clips
        raise AssertionError("an epoch's windows hold all its clips")


@lru_cache(maxsize=2)
def _shuffled_chunks(chunks: int, seed: int, epoch: int) -> NDArray[np.int64]:
    return np.random.default_rng([seed, epoch]).permutation(chunks)


def clips_of(chunks: NDArray[np.int64], chunk_clips: int, clips: int) -> NDArray[np.int64]:
    """Numbers of the clips in some chunks, chunk after chunk.

    Examples
    --------
    >>> clips_of(np.array([2, 0]), chunk_clips=2, clips=5)
    array([4, 0, 1])
    """
    numbers = (chunks[:, np.newaxis] * chunk_clips + np.arange(chunk_clips)).reshape(-1)
    return numbers[numbers < clips]


def again_together(clips: int, chunk_clips: int, window_chunks: int, batch_clips: int) -> float:
    """Probability that two clips that share a batch in one epoch share one again in the next.

    Clips of one chunk always share a window; clips of different chunks do so only if their chunks meet again. A full
    shuffle gives ``(batch_clips - 1) / (clips - 1)``. The formula ignores batches that span two windows and the short
    last chunk.

    Examples
    --------
    >>> round(again_together(40_496, 32, 16, 32), 5), round(again_together(40_496, 1, 40_496, 32), 5)
    (0.00436, 0.00077)
    """
    chunks = -(-clips // chunk_clips)
    others = window_chunks * chunk_clips - 1  # in the window of one clip
    in_chunk = (chunk_clips - 1) / others
    in_window = in_chunk + (1 - in_chunk) * (window_chunks - 1) / max(1, chunks - 1)
    return in_window * (batch_clips - 1) / others
