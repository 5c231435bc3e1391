"""Our shards against zarr's own: it must read what we write, and write the same bytes."""

import io
from pathlib import Path

import msgspec
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from zarr.codecs import BloscCodec, Crc32cCodec

from features.store.layout import StoreSpec
from features.store.shard import Checksum, checksum, checksum_of, read_shard, write_shard

SHAPE = (5, 7)


def layout(codec: str, dtype: str = "float32", chunk_clips: int = 4, shard_clips: int = 16) -> StoreSpec:
    return msgspec.convert(
        {"dtype": dtype, "chunk_clips": chunk_clips, "shard_clips": shard_clips, "codec": codec},
        StoreSpec,
    )


def values(clips: int, dtype: str = "float32") -> np.ndarray:
    made = np.random.default_rng(clips).uniform(0, 9, (clips, *SHAPE)).astype(dtype)
    made[clips // 2] = 0
    return made


def write(made: np.ndarray, spec: StoreSpec) -> tuple[bytes, Checksum]:
    file = io.BytesIO()
    chunks = (made[start : start + spec.chunk_clips] for start in range(0, len(made), spec.chunk_clips))
    written = write_shard(file, chunks, spec)
    return file.getvalue(), written


def zarrs_shard(made: np.ndarray, spec: StoreSpec, folder: Path) -> bytes:
    level = {"lz4": 5, "zstd": 1}
    array = zarr.create_array(
        folder,
        shape=made.shape,
        dtype=spec.dtype,
        chunks=(spec.chunk_clips, *SHAPE),
        shards=(spec.shard_clips, *SHAPE),
        compressors=[
            *[
                BloscCodec(cname=name, clevel=level[name], shuffle="bitshuffle")
                for name in [spec.codec]
                if name != "none"
            ],
            Crc32cCodec(),
        ],
        fill_value=np.nan,
        config={"write_empty_chunks": True},
    )
    array[:] = made
    return (folder / "c/0/0/0").read_bytes()


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("codec", ["none", "lz4", "zstd"])
@pytest.mark.parametrize("clips", [16, 12, 9, 1])
def test_the_bytes_are_those_that_zarr_writes(tmp_path: Path, codec: str, dtype: str, clips: int) -> None:
    made, spec = values(clips, dtype), layout(codec, dtype)
    ours, written = write(made, spec)
    assert ours == zarrs_shard(made, spec, tmp_path)
    assert written == checksum_of(ours) == checksum(tmp_path / "c/0/0/0")


@settings(max_examples=30, deadline=None)
@given(clips=st.integers(1, 24), chunk=st.integers(1, 8), codec=st.sampled_from(["none", "lz4", "zstd"]))
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, clips: int, chunk: int, codec: str) -> None:
    spec = layout(codec, chunk_clips=chunk, shard_clips=chunk * -(-clips // chunk))
    made = values(clips)
    content, written = write(made, spec)
    path = tmp_path_factory.mktemp("shard") / "0"
    path.write_bytes(content)
    got = np.concatenate(list(read_shard(path, SHAPE, spec, written)))
    np.testing.assert_array_equal(got[:clips], made)
    assert np.isnan(got[clips:]).all()


def test_every_flipped_bit_is_seen(tmp_path: Path) -> None:
    spec = layout("lz4")
    content, written = write(values(9), spec)
    path = tmp_path / "0"
    for at in range(0, len(content), 7):
        broken = bytearray(content)
        broken[at] ^= 1 << (at % 8)
        path.write_bytes(broken)
        with pytest.raises(ValueError, match="damaged"):
            next(read_shard(path, SHAPE, spec, written))
        assert checksum(path) != written


@pytest.mark.parametrize("sizes", [[4, 3, 4], [4] * 5, [5]])
def test_chunks_that_do_not_fill_a_shard_in_order_are_refused(sizes: list[int]) -> None:
    with pytest.raises(ValueError, match="the last partial"):
        write_shard(io.BytesIO(), (values(size) for size in sizes), layout("none"))


def test_a_silent_chunk_is_written() -> None:
    content, _ = write(np.zeros((8, *SHAPE), np.float32), layout("none"))
    assert len(content) == 2 * (4 * 5 * 7 * 4 + 4) + 4 * 16 + 4
