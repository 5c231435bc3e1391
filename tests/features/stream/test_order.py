import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.stream.order import Order

# chunks, chunks in a window | chunks in each window
WINDOWS = [(5, 2, [2, 2, 1]), (4, 2, [2, 2]), (1, 16, [1])]


@pytest.mark.parametrize(("chunks", "window_chunks", "sizes"), WINDOWS)
def test_windows_hold_whole_chunks_and_every_clip_once(chunks: int, window_chunks: int, sizes: list[int]) -> None:
    clips = 8 * chunks - 3
    order = Order(clips, chunk_clips=8, window_chunks=window_chunks, seed=0)
    assert order.windows == len(sizes)
    windows = [order.window(number) for number in range(order.windows)]
    assert [len(np.unique(window // 8)) for window in windows] == sizes
    for window in windows:
        short = 3 if clips - 1 in window else 0
        assert len(window) == 8 * len(np.unique(window // 8)) - short
    assert sorted(np.concatenate(windows).tolist()) == list(range(clips))


def stream(order: Order, windows: range) -> list[int]:
    """Clips of these windows in the order of the stream."""
    return [clip for number in windows for clip in order.window(number).tolist()]


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
    order = Order(clips=16, chunk_clips=8, window_chunks=1, seed=0)
    places = [(order.window(number) % 8).tolist() for number in range(order.windows)]
    assert sorted(places[0]) == sorted(places[1]) == list(range(8))
    assert places[0] != places[1]
