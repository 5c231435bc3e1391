"""How clips lie on disk: chunks, which are read, inside shards, which are files. Names and arithmetic alone."""

from typing import Annotated, Literal, NamedTuple

from msgspec import Meta, Struct

Codec = Literal["none", "lz4", "zstd"]

SEPARATOR = "."
"""Between the numbers in a shard's name. All shards lie in one folder, because DVC hashes the files of a folder in
parallel, and one folder after the other."""


class Array(NamedTuple):
    """The large array of a store."""

    name: str
    dimensions: tuple[str, ...]
    """Names, the clips first."""

    def shard_name(self, number: int) -> str:
        """Path of a shard inside its store."""
        return f"{self.name}/" + SEPARATOR.join(["c", str(number), *["0"] * (len(self.dimensions) - 1)])


WAVEFORM = Array("waveform", ("clip", "sample"))
FEATURES = Array("features", ("clip", "frequency", "time"))


class StoreSpec(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How features lie on disk; changes no number of theirs but through ``dtype``.

    ``msgspec.convert`` checks what it is given; made directly, it is trusted.
    """

    dtype: Literal["float32", "float16"]
    chunk_clips: Annotated[int, Meta(ge=1, le=10**12)]
    """Clips that are compressed, read and shuffled together."""
    shard_clips: Annotated[int, Meta(ge=1, le=10**12)]
    """Clips in one file, which one task computes and writes; a multiple of ``chunk_clips``."""
    codec: Codec

    def __post_init__(self) -> None:
        if self.shard_clips % self.chunk_clips:
            raise ValueError(
                f"shard_clips {self.shard_clips} is not a multiple of chunk_clips {self.chunk_clips}; expected whole "
                "chunks in a shard"
            )


WAVEFORM_LAYOUT = StoreSpec(dtype="float32", chunk_clips=32, shard_clips=256, codec="none")
"""How waveforms lie on disk."""


def shard_ranges(clips: int, shard_clips: int) -> list[tuple[int, int]]:
    """First clip of each shard and the clip after its last.

    Examples
    --------
    >>> shard_ranges(5, 2)
    [(0, 2), (2, 4), (4, 5)]
    """
    return [(start, min(start + shard_clips, clips)) for start in range(0, clips, shard_clips)]
