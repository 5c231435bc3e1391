"""In which order clips are streamed: pure arithmetic on chunk numbers, a function of (seed, epoch) alone.

An epoch is every clip of a store once. Its chunks are shuffled and cut into windows, and the clips of a window are
shuffled among themselves. Epochs follow one another without a gap, so that the clips that do not fill an epoch's last
batch open the next epoch's first one, and each clip comes equally often.
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
        Chunks that are read together, and whose clips are shuffled together.
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
        """One window of the stream, numbered through all epochs.

        Returns
        -------
        chunks : int64 array
            Numbers of the chunks to read.
        permutation : int64 array
            The order of their clips: positions among the clips of these chunks, chunk after chunk.

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
        """Where a clip of the stream lies.

        Parameters
        ----------
        position : int
            How many clips came before it, in all epochs.

        Returns
        -------
        (int, int)
            Number of its window, and how many clips of that window came before it.

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
    numbers = _places_of(chunks, chunk_clips)
    return numbers[numbers < clips]


def rows_of(chunks: NDArray[np.int64], chunk_clips: int, clips: int) -> NDArray[np.int64]:
    """Rows of those clips, in the same order, when whole chunks lie one after the other.

    Examples
    --------
    >>> rows_of(np.array([2, 0]), chunk_clips=2, clips=5)
    array([0, 2, 3])
    """
    return np.flatnonzero(_places_of(chunks, chunk_clips) < clips)


def _places_of(chunks: NDArray[np.int64], chunk_clips: int) -> NDArray[np.int64]:
    return (chunks[:, np.newaxis] * chunk_clips + np.arange(chunk_clips)).reshape(-1)


def again_together(clips: int, chunk_clips: int, window_chunks: int, batch_clips: int) -> float:
    """Probability that two clips which share a batch in one epoch share one in the next.

    They share a window then. If they share a chunk as well they always will, else their chunks must meet again. A full
    shuffle, which is a window of all chunks of one clip, gives ``(batch_clips - 1) / (clips - 1)``. Batches that lie in
    two windows, and a last chunk that is short, are left out of account.

    Examples
    --------
    >>> round(again_together(40_496, 32, 16, 32), 5), round(again_together(40_496, 1, 40_496, 32), 5)
    (0.00436, 0.00077)
    """
    chunks = -(-clips // chunk_clips)
    others = window_chunks * chunk_clips - 1  # in the window of a clip
    in_chunk = (chunk_clips - 1) / others
    in_window = in_chunk + (1 - in_chunk) * (window_chunks - 1) / max(1, chunks - 1)
    return in_window * (batch_clips - 1) / others
