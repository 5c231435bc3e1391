"""The C library's heap, which Python's large arrays come from."""

import ctypes

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
LARGE_BYTES = 8 << 20
"""Above a batch of frames, which is wanted again at once, and below a shard or window, which is not."""
KEPT_BYTES = 64 << 20
"""What may stay free at the top of the heap, so that each chunk's memory is not given back only to be fetched again."""


def steady_heap() -> None:
    """Keep large arrays that were freed from piling up in the heap.

    glibc learns from every large array that is freed to keep the next one, for each thread anew, so that memory creeps
    up with the number of clips. This gives large arrays back at once and lets threads share. Does nothing with other C
    libraries. The numbers are those of glibc's ``malloc.h``, see mallopt(3).
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt:
        mallopt(M_MMAP_THRESHOLD, LARGE_BYTES)
        mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)
        mallopt(M_ARENA_MAX, 2)


def trim_heap() -> None:
    """Give what is free in the heap back to the system, where the C library can."""
    malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if malloc_trim:
        malloc_trim(0)
