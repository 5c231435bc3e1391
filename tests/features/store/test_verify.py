"""Whatever happens to a store's files is found, named and repaired to the byte."""

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from conftest import contents, write_waveforms

from features.errors import InputError
from features.featurize import begin, featurize
from features.fingerprint import Version, current_version
from features.repair import repair_features
from features.spectrogram import FeatureSpec
from features.store.cache import ShardCache
from features.store.layout import StoreSpec
from features.store.manifest import Manifest
from features.store.reader import FeatureStore, WaveformStore
from features.store.verify import Fault, verify

SPEC = FeatureSpec(kind="magnitude", n_fft=64, hop_length=64, window="hann")
LAYOUT = StoreSpec(dtype="float32", chunk_clips=4, shard_clips=8, codec="lz4")
CLIPS = 60
SHARDS = 8


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with waveforms, features and the cache they left."""
    folder = tmp_path_factory.mktemp("made")
    write_waveforms(folder / "w.zarr", CLIPS)
    featurize(folder / "w.zarr", folder / "f.zarr", SPEC, LAYOUT, ShardCache(folder / "cache"), workers=2)
    return folder


@pytest.fixture
def store(made: Path, tmp_path: Path) -> Path:
    """A copy to break."""
    shutil.copytree(made / "f.zarr", tmp_path / "f.zarr")
    for file in (tmp_path / "f.zarr").rglob("*"):
        if file.is_file():
            file.chmod(0o644)
    return tmp_path / "f.zarr"


def faults(store: Path) -> list[Fault]:
    return verify(store, workers=2).faults


def flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at % len(content)] ^= 1 << (at % 8)
    path.write_bytes(content)


def swap(first: Path, second: Path) -> None:
    aside = first.with_name("aside")
    first.replace(aside)
    second.replace(first)
    aside.replace(second)


def shard(number: int) -> str:
    return f"features/c.{number}.0.0"


def doctor(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


# what happens                                                        | what is said of it
DAMAGES: list[tuple[Callable[[Path], object], str]] = [
    (lambda s: flip(s / shard(3), 77), "shard 3 (clips 24 to 31), features/c.3.0.0 has other bytes than were written"),
    (lambda s: os.truncate(s / shard(7), 50), "shard 7 (clips 56 to 59), features/c.7.0.0 is cut short: 50 of "),
    (lambda s: (s / shard(0)).unlink(), "shard 0 (clips 0 to 7), features/c.0.0.0 is missing"),
    (lambda s: swap(s / shard(1), s / shard(2)), "shard 1 (clips 8 to 15), features/c.1.0.0 is "),
    (lambda s: shutil.copy(s / shard(4), s / shard(5)), "shard 5 (clips 40 to 47), features/c.5.0.0 is "),
    (lambda s: (s / shard(6)).write_bytes(b"0" * 10**6), "is 1000000 bytes long; expected "),
    (lambda s: flip(s / "label/c/0", 5), "label/c/0 has other bytes than were written"),
    (lambda s: (s / "source_row/c/0").unlink(), "source_row/c/0 is missing"),
    (lambda s: flip(s / "recording/c/0", 9), "recording/c/0 has other bytes than were written"),
    (lambda s: doctor(s / "zarr.json", '"n_fft": 64', '"n_fft": 65'), "zarr.json has other bytes"),
    (lambda s: (s / "features/c.9").write_bytes(b""), "features/c.9 does not belong here"),
    (lambda s: (s / "manifest.json").unlink(), "manifest.json is missing"),
    (lambda s: flip(s / "manifest.json", 400), "manifest.json"),
    (lambda s: doctor(s / "manifest.json", '"size": ', '"size":  '), "manifest.json is not what was written"),
    (lambda s: doctor(s / "manifest.json", "\n", "\r"), "manifest.json is not what was written"),
    (lambda s: (s / "manifest.json").write_text("[" * 10**5), "manifest.json cannot be read"),
    (lambda s: (s / "zarr.json").write_text("[" * 10**5), "zarr.json is 100000 bytes long"),
    (lambda s: shutil.rmtree(s / "features"), "features/c.3.0.0 is missing"),
    (lambda s: ((s / shard(3)).unlink(), (s / shard(3)).mkdir()), "features/c.3.0.0 cannot be read (Is a directory)"),
    (lambda s: (shutil.rmtree(s / "label"), (s / "label").write_bytes(b"")), "label/c/0 is missing"),
]


@pytest.mark.parametrize(("damage", "said"), DAMAGES)
def test_every_damage_is_found_named_and_repaired(
    made: Path, store: Path, damage: Callable[[Path], object], said: str
) -> None:
    assert faults(store) == []
    before = contents(store)
    damage(store)
    found = faults(store)
    assert said in "\n".join(map(str, found))
    repair_features(store, made / "w.zarr", ShardCache(made / "cache"))
    assert faults(store) == []
    assert contents(store) == before
    assert sorted(path.name for path in store.parent.iterdir()) == ["f.zarr"]


def test_three_hundred_random_damages_are_found_and_repaired_without_the_cache(
    made: Path, store: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    before = contents(store)
    for seed in range(300):
        hit = corrupt(store, random.Random(seed))
        found = faults(store)
        assert {fault.name for fault in found} & hit, (seed, hit)
        empty = ShardCache(tmp_path_factory.mktemp("empty"))
        repaired = repair_features(store, made / "w.zarr", empty)
        assert contents(store) == before, (seed, hit)
        assert set(repaired) <= hit, "files were replaced that nothing had happened to"


def test_repair_does_not_take_what_rotted_in_the_cache(made: Path, store: Path, tmp_path: Path) -> None:
    """Where no clock tells: as when a disk goes bad under a file that is in the store and in the cache."""
    before = contents(store)
    cache = ShardCache(tmp_path / "cache")
    shutil.copytree(made / "cache", cache.folder)
    recorded = FeatureStore.open(store).manifest.shards[3]
    (rotten,) = (entry for entry in cache.entries() if entry.suffix[1:] == recorded.digest)
    modified_ns = rotten.stat().st_mtime_ns
    rotten.chmod(0o644)
    flip(rotten, 77)
    os.utime(rotten, ns=(modified_ns, modified_ns))
    (store / shard(3)).unlink()
    os.link(rotten, store / shard(3))
    assert repair_features(store, made / "w.zarr", cache) == [shard(3)]
    assert contents(store) == before


def corrupt(store: Path, rng: random.Random) -> set[str]:
    """Do one random thing to one random file, or two where they are swapped; which files."""
    files = sorted(path for path in store.rglob("*") if path.is_file())
    path = rng.choice(files)
    size = path.stat().st_size
    kind = rng.choice(["flip", "truncate", "delete", "swap", "append", "zeros"])
    hit = [path]
    if kind == "flip":
        flip(path, rng.randrange(size))
    elif kind == "truncate":
        os.truncate(path, rng.randrange(size))
    elif kind == "delete":
        path.unlink()
    elif kind == "swap":
        other = rng.choice([file for file in files if file.read_bytes() != path.read_bytes()])
        swap(path, other)
        hit.append(other)
    elif kind == "append":
        path.write_bytes(path.read_bytes() + b"\0")
    else:
        path.write_bytes(bytes(size) if path.read_bytes() != bytes(size) else b"\1" * size)
    return {file.relative_to(store).as_posix() for file in hit}


def test_a_link_to_another_stores_folder_is_a_fault_and_is_not_written_through(made: Path, store: Path) -> None:
    before, other = contents(store), store.parent / "other.zarr"
    shutil.copytree(made / "f.zarr", other)
    untouched = contents(other)
    for name in ("label", "features"):
        shutil.rmtree(store / name)
        (store / name).symlink_to(other / name)
        flip(other / name / "zarr.json", 5)
        untouched = contents(other)
    assert {fault.name for fault in faults(store)} >= {"label", "features"}
    assert "label leads to a folder elsewhere" in map(str, faults(store))
    repair_features(store, made / "w.zarr", ShardCache(made / "cache"))
    assert contents(store) == before
    assert contents(other) == untouched


def test_a_store_with_the_manifest_of_another_is_not_repaired(made: Path, store: Path, tmp_path: Path) -> None:
    write_waveforms(tmp_path / "w2.zarr", CLIPS, seed=3)
    featurize(tmp_path / "w2.zarr", tmp_path / "f2.zarr", SPEC, LAYOUT, ShardCache(tmp_path / "c"), workers=1)
    shutil.copy(tmp_path / "f2.zarr/manifest.json", store)
    before = contents(store)
    assert {shard(0), "zarr.json"} <= {fault.name for fault in faults(store)}
    with pytest.raises(InputError, match=r"holds other clips than .* was computed from"):
        repair_features(store, made / "w.zarr", ShardCache(made / "cache"))
    assert contents(store) == before


def test_strays_are_kept_beside_the_store_unless_they_are_empty(made: Path, store: Path) -> None:
    before, strays = contents(store), store.with_name("f.zarr.strays")
    for text in ("mine", "mine, too"):
        (store / "features/notes.txt").write_text(text)
        (store / "empty.txt").touch()
        repaired = repair_features(store, made / "w.zarr", ShardCache(made / "cache"))
        assert repaired == ["empty.txt", "features/notes.txt"]
        assert contents(store) == before
    assert contents(strays) == {"features/notes.txt": b"mine", "features/notes.txt.1": b"mine, too"}


def test_files_that_are_links_elsewhere_are_repaired_into_files(made: Path, store: Path, tmp_path: Path) -> None:
    """As DVC leaves them where it is told to link its cache symbolically."""
    before = contents(store)
    (tmp_path / "elsewhere").mkdir()
    for name in (shard(0), shard(1)):
        (store / name).rename(tmp_path / "elsewhere" / Path(name).name)
        (store / name).symlink_to(Path("../../elsewhere", Path(name).name))
    assert faults(store) == []
    flip(tmp_path / "elsewhere" / Path(shard(1)).name, 77)
    assert repair_features(store, made / "w.zarr", ShardCache(tmp_path / "empty")) == [shard(1)]
    assert not any(path.is_symlink() for path in store.rglob("*"))
    assert contents(store) == before


def test_a_stray_file_does_not_make_it_a_store_of_another_kind(made: Path, store: Path) -> None:
    (store / "waveform").mkdir()
    (store / "waveform/c.9.0").write_bytes(b"stray")
    assert [fault.name for fault in faults(store)] == ["waveform/c.9.0"]
    assert repair_features(store, made / "w.zarr", ShardCache(made / "cache")) == ["waveform/c.9.0"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"source_digest"', '"source_digets"'),
        ('"n_fft": 64', '"n_fft": "64"'),
        ('"made_by": {', '"made_by": 3, "m": {'),
    ],
)
def test_attributes_that_cannot_be_parsed_are_refused_in_a_sentence(
    made: Path, store: Path, old: str, new: str
) -> None:
    (store / "manifest.json").unlink()
    doctor(store / "zarr.json", old, new)
    with pytest.raises(InputError, match=r"cannot be parsed, .*; delete it and run dvc repro"):
        repair_features(store, made / "w.zarr", ShardCache(made / "cache"))


def test_a_shard_that_comes_out_otherwise_is_not_put_in_its_place(made: Path, store: Path, tmp_path: Path) -> None:
    """The manifest is whole, but of a shard it records what the code here does not come to."""
    manifest = Manifest.read(store)
    other = replace(manifest.shards[2], digest="0" * 32)
    msgspec.structs.replace(manifest, shards=[*manifest.shards[:2], other, *manifest.shards[3:]]).write(store)
    (store / shard(2)).unlink()
    before = contents(store)
    with pytest.raises(InputError, match="came out with other bytes than were recorded"):
        repair_features(store, made / "w.zarr", ShardCache(tmp_path / "empty"))
    assert contents(store) == before


def test_repair_from_other_waveforms_is_refused(made: Path, store: Path, tmp_path: Path) -> None:
    other = write_waveforms(tmp_path / "other.zarr", CLIPS, seed=1)
    (store / shard(0)).unlink()
    before = contents(store)
    with pytest.raises(InputError, match=r"holds other clips than .* was computed from"):
        repair_features(store, other, ShardCache(tmp_path / "cache"))
    assert contents(store) == before


def test_repair_with_another_library_is_refused(made: Path, store: Path, tmp_path: Path) -> None:
    """The store says that it was made by another version, and so does its checksum."""
    text = json.loads((store / "manifest.json").read_text())
    assert text["attributes"]["made_by"]["libraries"]["ducc0"]
    older = tmp_path / "older.zarr"
    shutil.copytree(store, older)
    version = current_version()
    made_by = Version(code=version.code, libraries={**version.libraries, "ducc0": "0.1"})
    shutil.rmtree(older)
    source = WaveformStore.open(made / "w.zarr")
    anew, _ = begin(source, older, SPEC, LAYOUT, made_by, ShardCache(tmp_path / "empty"))
    for number in range(SHARDS):
        shutil.copy(store / shard(number), anew.shard_path(number))
        anew.add_shard(number, FeatureStore.open(store).manifest.shards[number])
    anew.finalize()
    (older / shard(2)).unlink()
    with pytest.raises(InputError, match=r"to be computed by .*ducc0.*0\.1.* run dvc repro"):
        repair_features(older, made / "w.zarr", ShardCache(tmp_path / "empty"))


def test_an_altered_record_is_not_trusted_when_the_other_is_gone(made: Path, store: Path, tmp_path: Path) -> None:
    """Else numbers of another window would be filed under the name of these."""
    (store / "manifest.json").unlink()
    doctor(store / "zarr.json", '"hann"', '"boxcar"')
    cache = ShardCache(tmp_path / "cache")
    with pytest.raises(InputError, match="contradict each other; delete it and run dvc repro"):
        repair_features(store, made / "w.zarr", cache)
    assert cache.entries() == []


def test_repairs_at_once_take_turns(made: Path, store: Path) -> None:
    before = contents(store)
    script = (
        "import sys; from pathlib import Path; from features.repair import repair_features; "
        "from features.store.cache import ShardCache; "
        "print(len(repair_features(*map(Path, sys.argv[1:3]), ShardCache(Path(sys.argv[3])))))"
    )
    for number in range(SHARDS):
        (store / shard(number)).unlink()
    command = [sys.executable, "-c", script, str(store), str(made / "w.zarr"), str(store.parent / "empty")]
    with ExitStack() as stack:
        runs = [stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True)) for _ in range(3)]
        said = sorted(int(run.communicate()[0]) for run in runs)
    assert said == [0, 0, SHARDS]
    assert contents(store) == before


def test_both_records_gone(made: Path, store: Path) -> None:
    (store / "manifest.json").unlink()
    for damage in (lambda record: record.write_text("[" * 10**5), lambda record: record.unlink()):
        damage(store / "zarr.json")
        with pytest.raises(InputError, match="how it was made is unknown; delete it and run dvc repro"):
            repair_features(store, made / "w.zarr", ShardCache(made / "cache"))


def test_what_is_no_store(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist; expected a store such as"):
        verify(tmp_path / "none", workers=1)
    with pytest.raises(InputError, match="is not a store"):
        verify(tmp_path, workers=1)


def test_told_of_every_byte(store: Path) -> None:
    told: list[int] = []
    report = verify(store, workers=2, advance=told.append)
    assert sum(told) == report.bytes
    assert report.files == len(contents(store))
    np.testing.assert_equal(
        report.bytes, sum(map(len, contents(store).values())) - (store / "manifest.json").stat().st_size
    )
