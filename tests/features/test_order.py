import numpy as np
import pytest

from features.order import clip_order, epoch_windows

# chunks, chunks in a window | sizes of the windows
WINDOWS = [(5, 2, [2, 2, 1]), (4, 2, [2, 2]), (1, 16, [1]), (0, 16, [])]


@pytest.mark.parametrize(("chunks", "window_chunks", "sizes"), WINDOWS)
def test_windows_hold_every_chunk_once(chunks: int, window_chunks: int, sizes: list[int]) -> None:
    windows = epoch_windows(chunks, window_chunks, seed=0, epoch=0)
    assert [len(window) for window in windows] == sizes
    assert sorted(int(chunk) for window in windows for chunk in window) == list(range(chunks))


def test_order_is_a_function_of_seed_and_epoch() -> None:
    orders = [np.concatenate(epoch_windows(50, 4, seed, epoch)).tolist() for seed in (0, 1) for epoch in (0, 1)]
    assert len({tuple(order) for order in orders}) == 4
    assert np.concatenate(epoch_windows(50, 4, 0, 0)).tolist() == orders[0]


def test_clips_of_two_windows_are_dealt_differently() -> None:
    assert clip_order(50, 0, 0, 0).tolist() != clip_order(50, 0, 0, 1).tolist()
    assert sorted(clip_order(50, 0, 0, 0).tolist()) == list(range(50))
