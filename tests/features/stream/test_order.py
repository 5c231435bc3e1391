import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.stream.order import Order, clips_of

# chunks, chunks in a window | chunks in each window
WINDOWS = [(5, 2, [2, 2, 1]), (4, 2, [2, 2]), (1, 16, [1])]


@pytest.mark.parametrize(("chunks", "window_chunks", "sizes"), WINDOWS)
def test_windows_hold_every_chunk_once(chunks: int, window_chunks: int, sizes: list[int]) -> None:
    order = Order(clips=8 * chunks - 3, chunk_clips=8, window_chunks=window_chunks, seed=0)
    assert (order.chunks, order.windows) == (chunks, len(sizes))
    read = [order.window(number)[0] for number in range(order.windows)]
    assert [len(window) for window in read] == sizes
    assert sorted(np.concatenate(read).tolist()) == list(range(chunks))


def stream(order: Order, windows: range) -> list[int]:
    """Clips of these windows in the order of the stream."""
    clips = []
    for number in windows:
        chunks, places = order.window(number)
        clips += clips_of(chunks, order.chunk_clips, order.clips)[places].tolist()
    return clips


@settings(max_examples=60, deadline=None)
@given(
    clips=st.integers(1, 200), chunk=st.integers(1, 20), window=st.integers(1, 5), seed=st.integers(0, 3), at=st.data()
)
def test_the_stream_can_be_begun_anywhere(clips: int, chunk: int, window: int, seed: int, at: st.DataObject) -> None:
    order = Order(clips, chunk, window, seed)
    whole = stream(order, range(3 * order.windows))
    assert all(sorted(whole[start : start + clips]) == list(range(clips)) for start in range(0, 3 * clips, clips))
    position = at.draw(st.integers(0, 3 * clips - 1))
    first, skipped = order.find(position)
    assert stream(order, range(first, 3 * order.windows))[skipped:] == whole[position:]


def test_order_is_a_function_of_seed_and_epoch() -> None:
    def epoch(seed: int, number: int) -> tuple[int, ...]:
        order = Order(400, 8, 4, seed)
        return tuple(stream(order, range(number * order.windows, (number + 1) * order.windows)))

    orders = [epoch(seed, number) for seed in (0, 1) for number in (0, 1)]
    assert len(set(orders)) == 4
    assert epoch(0, 0) == orders[0]


def test_two_windows_have_different_permutations() -> None:
    order = Order(400, 8, 4, 0)
    assert order.window(0)[1].tolist() != order.window(1)[1].tolist()
    assert sorted(order.window(0)[1].tolist()) == list(range(32))
