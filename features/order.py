"""In which order clips are streamed: pure arithmetic on chunk numbers, a function of (seed, epoch) alone."""

import numpy as np
from numpy.typing import NDArray


def epoch_windows(chunks: int, window_chunks: int, seed: int, epoch: int) -> list[NDArray[np.int64]]:
    """Shuffle the chunks of a store and cut the order into windows.

    Parameters
    ----------
    chunks : int
        Chunks in the store.
    window_chunks : int
        Chunks that are read together, and whose clips are shuffled together.
    seed, epoch : int
        Same numbers, same order.

    Returns
    -------
    list of int64 arrays
        Chunk numbers of each window; every chunk stands in exactly one.

    Examples
    --------
    >>> sorted(int(chunk) for window in epoch_windows(5, 2, seed=0, epoch=3) for chunk in window)
    [0, 1, 2, 3, 4]
    """
    order = np.random.default_rng([seed, epoch]).permutation(chunks)
    return [order[start : start + window_chunks] for start in range(0, chunks, window_chunks)]


def clip_order(clips: int, seed: int, epoch: int, window: int) -> NDArray[np.int64]:
    """Order in which the clips of one window are dealt out, positions in the window.

    Examples
    --------
    >>> sorted(clip_order(4, seed=0, epoch=0, window=0).tolist())
    [0, 1, 2, 3]
    """
    return np.random.default_rng([seed, epoch, window]).permutation(clips)
