import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from features.featurize import cut


@given(sizes=st.lists(st.integers(0, 9), max_size=8), clips=st.integers(1, 12))
def test_pieces_are_cut_anew_in_order(sizes: list[int], clips: int) -> None:
    total = sum(sizes)
    rows = np.arange(2 * total, dtype=np.float32).reshape(total, 2)
    ends = np.cumsum(sizes).tolist()
    batches = list(cut((rows[end - size : end] for end, size in zip(ends, sizes, strict=True)), clips))
    assert [len(batch) for batch in batches] == [clips] * (total // clips) + [total % clips] * (total % clips > 0)
    np.testing.assert_array_equal(np.concatenate([rows[:0], *batches]), rows)


def test_pieces_that_fit_are_not_copied() -> None:
    rows = np.zeros((12, 2), np.float32)
    assert all(np.shares_memory(batch, rows) for batch in cut([rows[:6], rows[6:]], 3))
