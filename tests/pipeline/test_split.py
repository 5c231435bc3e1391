import json
import shutil
import sys

import numpy as np
import pytest
from conftest import Project, contents, make_arrays

from features.split.sets import SETS
from features.store.cache import ShardCache
from features.store.reader import WaveformStore


def stores(project: Project) -> dict[str, WaveformStore]:
    return {name: WaveformStore.open(project.folder / f"data/split/{name}.zarr") for name in SETS}


@pytest.mark.parametrize("compressed", [False, True])
def test_every_row_leads_back_to_its_very_waveform(project: Project, compressed: bool) -> None:
    made = make_arrays(10, speakers=20)
    project.save_npz(made, compressed=compressed)
    done = project.stage("split")
    assert done.code == 0, done.err
    rows = []
    speakers = []
    for store in stores(project).values():
        np.testing.assert_array_equal(store.read(0, store.clips), made["wav_vals"][store.source_rows])
        assert [store.attributes["words"][label] for label in store.labels] == made["label_vals"][
            store.source_rows, 0
        ].tolist()
        rows += store.source_rows.tolist()
        speakers.append(set(made["group_vals"][store.source_rows, 0]))
    assert sorted(rows) == list(range(120))
    assert not speakers[0] & speakers[1] | speakers[0] & speakers[2] | speakers[1] & speakers[2]
    assert not list((project.folder / "data/split").glob(".partial*"))


def test_copies_stay_together_and_are_reported(project: Project) -> None:
    made = make_arrays(20)
    for copy in range(12):
        made["wav_vals"][20 * copy + 1] = made["wav_vals"][20 * copy]
    project.save_npz(made)
    assert project.stage("split").code == 0
    summary = json.loads((project.folder / "metrics/split.json").read_text())
    assert summary["duplicates"] == {"contents": 12, "clips": 12, "words_disagree": 0}
    assert summary["dropped"] == {"clips": 0, "reasons": {}}
    assert summary["speakers_known"] is False
    assert sum(summary["sets"][name]["clips"] for name in SETS) == 240
    assert sum(summary["sets"][name]["groups"] for name in SETS) == 228
    place = {row: name for name, store in stores(project).items() for row in store.source_rows.tolist()}
    assert all(place[20 * copy] == place[20 * copy + 1] for copy in range(12))


def test_stored_and_deflated_give_the_same_bytes(project: Project) -> None:
    both = []
    for compressed in (False, True):
        shutil.rmtree(project.folder / ".cache", ignore_errors=True)
        project.save_npz(make_arrays(10), compressed=compressed)
        assert project.stage("split").code == 0
        both.append({name: (project.folder / name).read_bytes() for name in project.leftovers()})
    assert both[0] == both[1]


def test_waveforms_are_taken_from_the_cache(project: Project) -> None:
    made = make_arrays(10)
    project.save_npz(made)
    assert "3 shards written, 0 reused" in project.stage("split").out
    before = contents(project.folder / "data/split")
    shards = {name: store.shard_path(0) for name, store in stores(project).items()}
    inodes = {name: path.stat().st_ino for name, path in shards.items()}
    shutil.rmtree(project.folder / "data/split")
    assert "0 shards written, 3 reused" in project.stage("split").out
    assert contents(project.folder / "data/split") == before
    assert {name: path.stat().st_ino for name, path in shards.items()} == inodes

    edited = stores(project)["train"].source_rows[5]
    made["wav_vals"][edited] *= 0.5
    project.save_npz(made)
    assert "1 shards written, 2 reused" in project.stage("split").out
    np.testing.assert_array_equal(stores(project)["train"].read(5, 6)[0], made["wav_vals"][edited])

    entries = sorted((project.folder / ".cache/features").glob("??/*"))
    assert len(entries) == 4
    for entry in entries:
        entry.chmod(0o644)
        content = bytearray(entry.read_bytes())
        content[100] ^= 1
        entry.write_bytes(content)
    assert "3 shards written, 0 reused" in project.stage("split").out, "what is damaged is written anew"
    np.testing.assert_array_equal(stores(project)["train"].read(5, 6)[0], made["wav_vals"][edited])


def test_damaged_samples_are_found_before_anything_is_written(project: Project) -> None:
    made = make_arrays(10)
    path = project.save_npz(made)
    assert project.stage("split").code == 0
    before = contents(project.folder / "data/split")
    content = bytearray(path.read_bytes())
    content[content.index(made["wav_vals"][3].tobytes())] ^= 1
    path.write_bytes(content)
    done = project.stage("split")
    assert done.code == 2
    assert "input.npz is damaged: its samples do not match the checksum recorded in it" in done.err
    assert contents(project.folder / "data/split") == before


def test_a_file_that_changes_meanwhile_leaves_nothing_in_the_cache(project: Project) -> None:
    """Somebody halves every sample after the clips were examined, and puts the old file back later."""
    made = make_arrays(10)
    path = project.save_npz(made)
    old = path.read_bytes()
    np.savez(project.folder / "halved.npz", **{**made, "wav_vals": made["wav_vals"] / 2})
    new = (project.folder / "halved.npz").read_bytes()
    assert len(new) == len(old)
    script = (
        "import sys, pipeline.split as split\n"
        "divide = split.divide_source\n"
        "def late(source, *rest):\n"
        "    division = divide(source, *rest)\n"
        "    with open(source.path, 'r+b') as file:\n"
        "        file.write(open('halved.npz', 'rb').read())\n"
        "    return division\n"
        "split.divide_source = late\n"
        "split.run(split.main)\n"
    )
    done = project.run(sys.executable, "-c", script)
    assert done.code == 2, done.out
    assert "input.npz changed while it was being split" in done.err
    assert not (project.folder / "data/split/train.zarr").exists()
    with path.open("r+b") as file:
        file.write(old)
    assert "3 shards written, 0 reused" in project.stage("split").out
    for store in stores(project).values():
        np.testing.assert_array_equal(store.read(0, store.clips), made["wav_vals"][store.source_rows])


def test_a_word_that_the_file_lacks_is_said(project: Project) -> None:
    made = make_arrays(10)
    keep = made["label_vals"][:, 0] != "silence"
    project.save_npz({name: array[keep] for name, array in made.items()})
    done = project.stage("split")
    assert done.code == 0
    assert "warning: input.npz has no clip of silence" in done.err


def test_the_cache_is_kept_within_its_size(project: Project) -> None:
    project.save_npz(make_arrays(10))
    done = project.stage("split", "--cache-size", "0")
    assert done.code == 0, done.err
    assert ShardCache(project.folder / ".cache/features").entries() == []
