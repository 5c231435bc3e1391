import json
import shutil
import sys
from typing import Any

import numpy as np
import pytest
from conftest import Project, contents, make_arrays

from features.split.marks import Mark, save_mark
from features.split.sets import SETS
from features.store.cache import ShardCache
from features.store.reader import WaveformStore


def stores(project: Project) -> dict[str, WaveformStore]:
    return {name: WaveformStore.open(project.folder / f"data/split/{name}.zarr") for name in SETS}


def rows_of(project: Project) -> dict[str, list[int]]:
    return {name: store.source_rows.tolist() for name, store in stores(project).items()}


def without(rows: dict[str, list[int]], *left_out: int) -> dict[str, list[int]]:
    return {name: [row for row in some if row not in left_out] for name, some in rows.items()}


def metrics_of(project: Project) -> dict[str, Any]:
    """What metrics/split.json says, whose numbers add up."""
    found = json.loads((project.folder / "metrics/split.json").read_text())
    sets, dropped = found["sets"], found["dropped"]
    assert found["clips"] == sum(sets[name]["clips"] for name in SETS) + dropped["clips"]
    assert all(sum(each["words"].values()) == each["clips"] for each in sets.values())
    assert dropped["clips"] == sum(dropped["reasons"].values()) == len(dropped["rows"])
    return found


def mark(project: Project, row: int, mark: str) -> None:
    """Mark a clip that is in a set by its digest there."""
    for store in stores(project).values():
        for at in np.flatnonzero(store.source_rows == row):
            word = store.attributes["words"][store.labels[at]]
            save_mark(project.folder / "marks.tsv", Mark(store.digests[at].tobytes().hex(), word, row, mark))


@pytest.mark.parametrize("compressed", [False, True])
def test_every_row_leads_back_to_its_very_waveform(project: Project, compressed: bool) -> None:
    made = make_arrays(10, speakers=20)
    project.save_npz(made, compressed=compressed)
    done = project.stage_here("split")
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
    assert project.stage_here("split").code == 0
    summary = json.loads((project.folder / "metrics/split.json").read_text())
    assert summary["duplicates"] == {"contents": 12, "clips": 12, "words_disagree": 0}
    assert summary["dropped"] == {"clips": 0, "reasons": {}, "rows": []}
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
        assert project.stage_here("split").code == 0
        both.append({name: (project.folder / name).read_bytes() for name in project.leftovers()})
    assert both[0] == both[1]


def test_waveforms_are_taken_from_the_cache(project: Project) -> None:
    made = make_arrays(10)
    project.save_npz(made)
    assert "3 shards written, 0 reused" in project.stage_here("split").out
    before = contents(project.folder / "data/split")
    shards = {name: store.shard_path(0) for name, store in stores(project).items()}
    inodes = {name: path.stat().st_ino for name, path in shards.items()}
    shutil.rmtree(project.folder / "data/split")
    assert "0 shards written, 3 reused" in project.stage_here("split").out
    assert contents(project.folder / "data/split") == before
    assert {name: path.stat().st_ino for name, path in shards.items()} == inodes

    edited = stores(project)["train"].source_rows[5]
    made["wav_vals"][edited] *= 0.5
    project.save_npz(made)
    assert "1 shard written, 2 reused" in project.stage_here("split").out
    np.testing.assert_array_equal(stores(project)["train"].read(5, 6)[0], made["wav_vals"][edited])

    entries = sorted((project.folder / ".cache/features").glob("??/*"))
    assert len(entries) == 4
    for entry in entries:
        entry.chmod(0o644)
        content = bytearray(entry.read_bytes())
        content[100] ^= 1
        entry.write_bytes(content)
    assert "3 shards written, 0 reused" in project.stage_here("split").out, "what is damaged is written anew"
    np.testing.assert_array_equal(stores(project)["train"].read(5, 6)[0], made["wav_vals"][edited])


def test_damaged_samples_are_found_before_anything_is_written(project: Project) -> None:
    made = make_arrays(10)
    path = project.save_npz(made)
    assert project.stage_here("split").code == 0
    before = contents(project.folder / "data/split")
    content = bytearray(path.read_bytes())
    content[content.index(made["wav_vals"][3].tobytes())] ^= 1
    path.write_bytes(content)
    done = project.stage_here("split")
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
    assert "3 shards written, 0 reused" in project.stage_here("split").out
    for store in stores(project).values():
        np.testing.assert_array_equal(store.read(0, store.clips), made["wav_vals"][store.source_rows])


def test_a_word_that_the_file_lacks_is_said(project: Project) -> None:
    made = make_arrays(10)
    keep = made["label_vals"][:, 0] != "silence"
    project.save_npz({name: array[keep] for name, array in made.items()})
    done = project.stage_here("split")
    assert done.code == 0
    assert "warning: input.npz has no clip of silence" in done.err


def test_the_cache_is_kept_within_its_size(project: Project) -> None:
    project.save_npz(make_arrays(10))
    done = project.stage_here("split", "--cache-size", "0")
    assert done.code == 0, done.err
    assert ShardCache(project.folder / ".cache/features").entries() == []


def test_marked_clips_are_left_out_and_all_others_stay(project: Project) -> None:
    arrays = make_arrays(10, speakers=20)
    names = np.array([f"{row}.wav" for row in range(len(arrays["wav_vals"]))])
    path = project.save_npz({**arrays, "recording_vals": names})
    untouched = path.read_bytes()
    assert "marks.tsv" not in project.stage_here("split").out
    before = rows_of(project)
    wrong, bad, kept = before["train"][4], before["test"][0], before["validation"][1]
    for row, how in ((wrong, "wrong label"), (bad, "bad audio"), (kept, "keep")):
        mark(project, row, how)
    done = project.stage_here("split")
    assert done.code == 0, done.err
    assert "split: left out 2 clips marked in marks.tsv: 1 wrong label, 1 bad audio\n" in done.out
    assert "does not hold" not in done.out
    assert rows_of(project) == without(before, wrong, bad)
    words = [str(word) for word in make_arrays(10)["label_vals"][:, 0]]
    assert metrics_of(project)["dropped"] == {
        "clips": 2,
        "reasons": {"wrong label": 1, "bad audio": 1},
        "rows": sorted(
            (
                {"row": wrong, "recording": f"{wrong}.wav", "word": words[wrong], "reason": "wrong label"},
                {"row": bad, "recording": f"{bad}.wav", "word": words[bad], "reason": "bad audio"},
            ),
            key=lambda each: each["row"],
        ),
    }
    project.set(**{"split.leave_out": ["bad audio"]})
    assert "split: left out 1 clip marked in marks.tsv: 1 bad audio\n" in project.stage_here("split").out
    assert rows_of(project) == without(before, bad)
    project.set(**{"split.leave_out": []})
    assert "marks.tsv" not in project.stage_here("split").out
    assert rows_of(project) == before
    assert metrics_of(project)["dropped"] == {"clips": 0, "reasons": {}, "rows": []}
    assert path.read_bytes() == untouched


def test_marks_follow_clips_to_other_rows_and_end_with_their_label(project: Project) -> None:
    made = make_arrays(10)
    project.save_npz(made)
    assert project.stage_here("split").code == 0
    before = rows_of(project)
    moved, corrected = before["train"][3], before["train"][7]
    mark(project, moved, "bad audio")
    mark(project, corrected, "wrong label")
    save_mark(project.folder / "marks.tsv", Mark("00" * 16, "yes", 3, "bad audio"))
    made["label_vals"][corrected] = "yes" if made["label_vals"][corrected, 0] != "yes" else "no"
    project.save_npz({name: array[::-1] for name, array in made.items()})
    done = project.stage_here("split")
    assert "split: left out 1 clip marked in marks.tsv: 1 bad audio\n" in done.out, done.err
    assert "split: marks.tsv marks 2 clips that input.npz does not hold, or holds as another word\n" in done.out
    assert [each["row"] for each in metrics_of(project)["dropped"]["rows"]] == [119 - moved]


def test_a_missing_file_of_marks_is_none_and_a_bad_one_is_refused(project: Project) -> None:
    project.save_npz(make_arrays(10))
    path = project.folder / "marks.tsv"
    path.unlink()
    assert project.stage_here("split").code == 0
    path.write_text("digest\tword\trow\tmark\nx\n")
    done = project.stage_here("split")
    assert done.code == 2
    assert done.err.startswith("error: marks.tsv, line 2: it has 1 columns; expected digest, word, row and mark")


def test_the_last_clip_of_a_word_and_of_a_set(project: Project) -> None:
    made = make_arrays(10)
    project.save_npz(made)
    assert project.stage_here("split").code == 0
    test = rows_of(project)["test"]
    go = [row for row in test if made["label_vals"][row, 0] == "go"]
    for row in go:
        mark(project, row, "bad audio")
    done = project.stage_here("split")
    assert done.code == 0
    assert "warning: the test set has no clip of go left: all of them are marked in marks.tsv\n" in done.err
    before = contents(project.folder / "data")
    for row in set(test).difference(go):
        mark(project, row, "wrong label")
    done = project.stage_here("split")
    assert done.code == 2
    assert "all clips of the test set are marked as bad audio or wrong label; expected one that is not" in done.err
    assert contents(project.folder / "data") == before


def test_a_hundred_near_duplicates_are_named(project: Project) -> None:
    made = make_arrays(20)
    made["wav_vals"][200:230] = made["wav_vals"][200] * np.linspace(0.5, 1, 30, dtype=np.float32)[:, np.newaxis]
    project.save_npz(made)
    assert project.stage_here("split").code == 0
    found = metrics_of(project)["near_duplicates"]
    assert found["pairs"] == 30 * 29 / 2
    assert found["pairs_in_several_sets"] > 100 == len(found["rows_in_several_sets"])


def test_counts_are_of_clips_that_are_kept(project: Project) -> None:
    made = make_arrays(20)
    waves = made["wav_vals"]
    waves[1:60:2] = 0.5 * waves[0:60:2]  # near-duplicates
    waves[101] = waves[100]
    made["label_vals"][101] = "off" if made["label_vals"][100, 0] == "on" else "on"
    waves[150] = 0
    waves[160, 7] = 1.5
    project.save_npz(made)
    done = project.stage_here("split")
    assert done.code == 0, done.err
    before, place = metrics_of(project), {row: name for name, rows in rows_of(project).items() for row in rows}
    crossing = [[row, row + 1] for row in range(0, 60, 2) if place[row] != place[row + 1]]
    assert len(crossing) > 2
    assert before["near_duplicates"] == {
        "clips": 60,
        "pairs": 30,
        "pairs_in_several_sets": len(crossing),
        "rows_in_several_sets": crossing,
    }
    assert before["duplicates"] == {"contents": 1, "clips": 1, "words_disagree": 1}
    assert (before["silent_clips"], before["clips_beyond_full_scale"]) == (1, 1)
    for row in (crossing[1][1], 101, 150, 160):
        mark(project, row, "bad audio")
    done = project.stage_here("split")
    assert done.code == 0, done.err
    after = metrics_of(project)
    assert after["near_duplicates"] == {
        "clips": 58,
        "pairs": 29,
        "pairs_in_several_sets": len(crossing) - 1,
        "rows_in_several_sets": [pair for pair in crossing if pair != crossing[1]],
    }
    assert after["duplicates"] == {"contents": 0, "clips": 0, "words_disagree": 0}
    assert (after["silent_clips"], after["clips_beyond_full_scale"]) == (0, 0)
