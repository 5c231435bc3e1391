"""How clips lie on disk: chunks, which are read, inside shards, which are files. Pure arithmetic; opens no file."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Codec = Literal["none", "lz4", "zstd"]


class StoreSpec(BaseModel):
    """How features lie on disk; changes no number of theirs but through ``dtype``."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    dtype: Literal["float32", "float16"]
    chunk_clips: Annotated[int, Field(ge=1)]
    """Clips that are compressed, read and shuffled together."""
    shard_clips: Annotated[int, Field(ge=1)]
    """Clips in one file, which one task computes and writes; a multiple of ``chunk_clips``."""
    codec: Codec

    @model_validator(mode="after")
    def _shards_hold_whole_chunks(self) -> Self:
        if self.shard_clips % self.chunk_clips:
            raise ValueError(
                f"shard_clips {self.shard_clips} is not a multiple of chunk_clips {self.chunk_clips}; expected whole "
                "chunks in a shard"
            )
        return self


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
