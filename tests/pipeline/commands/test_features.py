"""The command ``features`` as a person or a program uses it."""

import json
import os
import pty
import re
import shutil
import subprocess
import sys
from contextlib import suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import matplotlib.image
import numpy as np
import pytest
import soundfile
from conftest import Finished, Project, copy_product, in_this_process, make_arrays

from features.split.marks import Mark, remove_mark, save_mark
from features.store.reader import WaveformStore
from pipeline.commands.features.__main__ import main

TRAIN = "data/features/train.zarr"
PROCESS = (sys.executable, "-m", "pipeline.commands.features")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Stores of ten clips a word, read by every test and broken by none."""
    project = copy_product(tmp_path_factory.mktemp("project"))
    project.save_npz(make_arrays(10))
    for stage in (["split"], ["featurize", "train"], ["featurize", "test"]):
        assert project.stage_here(*stage).code == 0
    return project


@pytest.fixture(autouse=True)
def wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def features(project: Project, *arguments: str) -> Finished:
    """Run the command in this process, because a process imports for longer than it runs."""
    return in_this_process(project.folder, main, "features", *arguments)


def test_help_alone_tells_how_to_see_and_hear_three_clips(project: Project) -> None:
    done = project.run(*PROCESS, "--help")
    command = re.search(r"features (inspect data/features/train.zarr\s+--word yes\s+--sample 3)", done.out)
    assert command, done.out
    shown = features(project, *command[1].split())
    assert shown.code == 0, shown.err
    sounds = sorted((project.folder / "inspected").glob("train-yes-*.wav"))
    assert len(sounds) == 3
    store = WaveformStore.open(project.folder / "data/split/train.zarr")
    for sound in sounds:
        clip = int(sound.stem.split("-")[-1])
        heard, rate = soundfile.read(sound, dtype="float32")
        assert rate == 8000
        np.testing.assert_allclose(heard, store.read(clip, clip + 1)[0], atol=0.51 / 2**15)
        assert store.attributes["words"][store.labels[clip]] == "yes"
        assert matplotlib.image.imread(sound.with_suffix(".png")).shape[1] > 300
        files = f"inspected/{sound.stem}.png, inspected/{sound.stem}.wav"
        assert f"yes, clip {clip}, row {store.source_rows[clip]}:\n  {files}\n" in shown.out
    assert (project.folder / "inspected/train-yes.png").exists()


@pytest.mark.parametrize(("store", "array"), [(TRAIN, "features"), ("data/split/train.zarr", "waveform")])
def test_what_is_in_a_store(project: Project, store: str, array: str) -> None:
    done = features(project, "inspect", store, "--json")
    found = json.loads(done.out)
    assert found["array"] == array
    assert found["shape"] == ([96, 130, 64] if array == "features" else [96, 8000])
    assert found["words"] == dict.fromkeys(found["words"], 8)
    assert found["suspicious"] == {"silent": [], "non_finite": [], "clipped": [], "duplicates": []}
    assert found["bytes"] < found["uncompressed_bytes"] * 1.1
    assert found["provenance"]["split"] == {
        "seed": 0,
        "test_fraction": 0.1,
        "validation_fraction": 0.1,
        "published": "check",
        "leave_out": ["wrong label", "bad audio"],
    }
    text = features(project, "inspect", store).out
    assert max(map(len, text.splitlines())) <= 80
    for part in ("96 clip", "3 shards of" if array == "features" else "1 shard of", "yes 8", "silent", "none"):
        assert part in text


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1", "TERM": "xterm"}, {"PYTHONIOENCODING": "ascii"}])
def test_a_terminal_without_colours_or_utf8_shows_a_picture(project: Project, environment: dict[str, str]) -> None:
    reading, writing = pty.openpty()
    command = [sys.executable, "-m", "pipeline.commands.features", "inspect", TRAIN, "--word", "yes", "--sample", "1"]
    done = subprocess.run(
        [*command, "--to", "drawn", "--force"],
        cwd=project.folder,
        env={**os.environ, **environment},
        stdout=writing,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(writing)
    shown = b""
    with suppress(OSError):  # the end, as a terminal tells it
        while part := os.read(reading, 10**5):
            shown += part
    os.close(reading)
    assert (done.returncode, done.stderr) == (0, b"")
    assert len(set(shown.decode()) & set(".:-=+*#%@")) > 3


def test_one_clip_of_waveforms_and_for_programs(project: Project) -> None:
    done = features(project, "inspect", "data/split/test.zarr", "--clip", "3", "--to", "elsewhere", "--json")
    (shown,) = json.loads(done.out)
    assert shown["clip"] == 3
    for name in ("picture", "sound"):
        assert (project.folder / shown[name]).parent.name == "elsewhere"
        assert (project.folder / shown[name]).stat().st_size > 1000


def test_one_clip_by_its_row_in_the_npz(project: Project) -> None:
    rows = WaveformStore.open(project.folder / "data/split/test.zarr").source_rows
    done = features(project, "inspect", "data/features/test.zarr", "--row", str(rows[5]), "--to", "by row", "--json")
    (shown,) = json.loads(done.out)
    assert (shown["clip"], shown["source_row"]) == (5, rows[5])
    other = next(row for row in range(1000) if row not in rows)
    done = features(project, "inspect", "data/features/test.zarr", "--row", str(other))
    assert (done.code, f"holds no clip of row {other}" in done.err) == (2, True)


def test_clips_by_the_recording_they_were_cut_from(tmp_path: Path) -> None:
    """An import of files that give one clip, and of one that gives several; a name with brackets stays a name."""
    project = copy_product(tmp_path)
    rng = np.random.default_rng(0)
    for word in ("yes", "no"):
        (project.folder / "in" / word).mkdir(parents=True)
        for number in range(8):
            sound = rng.uniform(-0.5, 0.5, 24000 if number == 7 else 8000) * (number > 1)
            soundfile.write(project.folder / f"in/{word}/[bold]{number}.wav", sound, 8000)
    done = project.stage_here("import_recordings", "in", "out.npz", "--cut", "windows", "--workers", "1")
    assert done.code == 0, done.err
    project.set(**{"data.npz": "out.npz", "corpus.words": ["yes", "no"]})
    assert project.stage_here("split").code == 0
    with np.load(project.folder / "out.npz") as npz:
        names = npz["recording_vals"][:, 0]
    assert names[7:10].tolist() == [f"no/[bold]7.wav at {second} s" for second in range(3)]
    shown = {}
    for name in ("train", "validation", "test"):
        store = WaveformStore.open(project.folder / f"data/split/{name}.zarr")
        assert store.recordings.tolist() == names[store.source_rows].tolist()
        for row, recording in zip(store.source_rows, store.recordings, strict=True):
            done = features(project, "inspect", f"data/split/{name}.zarr", "--recording", str(recording), "--json")
            (about,) = json.loads(done.out)
            assert (about["source_row"], about["recording"]) == (row, recording)
            shown[recording] = name
        windows = [each for each in store.recordings if each.startswith("yes/[bold]7.wav")]
        done = features(project, "inspect", f"data/split/{name}.zarr", "--recording", "yes/[bold]7.wav", "--json")
        if windows:
            assert sorted(each["recording"] for each in json.loads(done.out)) == sorted(windows)
        else:
            assert (done.code, "holds no clip of yes/[bold]7.wav; it is in data/split/" in done.err) == (2, True)
    assert set(shown) == set(names)
    silent = shown["yes/[bold]0.wav"]
    assert "yes/[bold]0.wav" in features(project, "inspect", f"data/split/{silent}.zarr").out


def test_verify_tells_and_repairs(project: Project) -> None:
    done = features(project, "verify", TRAIN)
    assert done.code == 0
    assert re.match(r"verify: \d+ files, \d+ MB of data/features/train.zarr are what was written$", done.out.strip())
    shard = project.folder / TRAIN / "features/c.1.0.0"
    good = shard.read_bytes()
    shard.unlink()
    shard.write_bytes(good[:-1])
    done = features(project, "verify", TRAIN)
    assert done.code == 1
    first, last = done.out.strip().splitlines()
    assert first.startswith(f"{TRAIN}: shard 1 (clips 32 to 63), features/c.1.0.0 is cut short: ")
    assert last.endswith(f"run: features verify --repair {TRAIN}")
    faults = json.loads(features(project, "verify", TRAIN, "--json").out)["faults"]
    assert [(fault["shard"], fault["clips"]) for fault in faults] == [(1, [32, 63])]
    done = features(project, "verify", TRAIN, "--repair")
    assert done.code == 0, done.err
    assert done.out.strip().splitlines()[-1] == f"verify: repaired 1 file of {TRAIN}: features/c.1.0.0"
    assert shard.read_bytes() == good


@pytest.mark.parametrize("broken", ["waveform/c.0.0", "label/c/0", "source_row/c/0", "digest/c/0/0", "manifest.json"])
def test_waveforms_are_repaired_from_the_npz(project: Project, broken: str) -> None:
    path = project.folder / "data/split/train.zarr" / broken
    good = path.read_bytes()
    path.unlink()
    done = features(project, "verify", "data/split/train.zarr", "--repair")
    assert done.code == 0, done.err
    assert path.read_bytes() == good
    assert "repaired 1 file" in done.out


def test_waveforms_are_not_repaired_from_another_npz(project: Project, tmp_path: Path) -> None:
    path = project.folder / "data/split/test.zarr/label/c/0"
    good = path.read_bytes()
    path.unlink()
    np.savez(tmp_path / "other.npz", **make_arrays(10, seed=1))
    arguments = ["verify", "data/split/test.zarr", "--repair", "--source", str(tmp_path / "other.npz")]
    done = features(project, *arguments)
    assert done.code == 2
    assert "other.npz holds other clips than data/split/test.zarr was split from" in done.err
    path.write_bytes(good)


def test_waveforms_are_repaired_by_the_marks_they_were_split_by(tmp_path: Path) -> None:
    project = copy_product(tmp_path)
    project.save_npz(make_arrays(10))
    assert project.stage_here("split").code == 0
    store = WaveformStore.open(project.folder / "data/split/test.zarr")
    word = store.attributes["words"][store.labels[0]]
    mark = Mark(store.digests[0].tobytes().hex(), word, int(store.source_rows[0]), "bad audio")
    save_mark(project.folder / "marks.tsv", mark)
    assert project.stage_here("split").code == 0
    path = project.folder / "data/split/test.zarr/label/c/0"
    good = path.read_bytes()
    path.unlink()
    done = features(project, "verify", "data/split/test.zarr", "--repair")
    assert done.code == 0, done.err
    assert path.read_bytes() == good
    path.unlink()
    remove_mark(project.folder / "marks.tsv", mark.digest, mark.word)
    done = features(project, "verify", "data/split/test.zarr", "--repair")
    assert done.code == 2
    assert "input.npz holds other clips than data/split/test.zarr was split from, or other clips are marked" in done.err


@pytest.mark.parametrize("kind", ["features", "split"])
def test_a_copy_elsewhere_is_repaired_from_the_project(project: Project, tmp_path: Path, kind: str) -> None:
    copy = tmp_path / "copies/test.zarr"
    shutil.copytree(project.folder / "data" / kind / "test.zarr", copy)
    (broken,) = copy.glob("*/c.0*")
    good = broken.read_bytes()
    broken.unlink()
    hint = features(project, "inspect", str(copy)).err.strip().split("run: ")[-1]
    done = features(project, *hint.split()[1:])
    assert done.code == 0, done.err
    assert broken.read_bytes() == good


def test_a_copy_whose_waveforms_are_not_found(project: Project, tmp_path: Path) -> None:
    copy = tmp_path / "copies/old test.zarr"
    shutil.copytree(project.folder / "data/features/test.zarr", copy)
    (copy / "label/c/0").unlink()
    done = features(project, "verify", "--repair", str(copy))
    assert done.code == 2
    assert f"neither {tmp_path}/split/old test.zarr nor data/split/old test.zarr; expected the waveforms" in done.err
    repaired = features(project, "verify", "--repair", str(copy), "--source", "data/split/test.zarr")
    assert repaired.code == 0, repaired.err
    done = features(project, "verify", "--repair", str(copy))
    assert (done.code, "are what was written" in done.out) == (0, True)
    (copy / "label/c/0").unlink()
    done = features(project, "verify", "--repair", str(copy), "--source", "data/split/train.zarr")
    assert done.code == 2
    assert done.err.endswith("expected the same, so delete it and run dvc repro, or copy it again if it is a copy\n")


def test_a_store_behind_a_url(project: Project) -> None:
    for scheme in ("local", "file"):
        assert features(project, "verify", f"{scheme}://{project.folder / TRAIN}").code == 0
    done = features(project, "verify", "http://127.0.0.1:1/train.zarr", "--repair")
    assert done.code == 2
    assert "lies elsewhere; expected a store on this machine" in done.err


def test_a_store_on_a_server(project: Project) -> None:
    """In other processes, because the server writes its log to this one's standard error."""
    handler = partial(SimpleHTTPRequestHandler, directory=str(project.folder / "data"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/features/train.zarr"
        found = project.run(*PROCESS, "verify", url)
        nothing = project.run(*PROCESS, "inspect", f"{url}/nothing")
        server.shutdown()
    nobody = project.run(*PROCESS, "diff", url, TRAIN)
    assert (found.code, found.err) == (0, "")
    assert f"{url} are what was written" in found.out
    for run, sentence in (
        (nothing, f"error: {url}/nothing does not exist; expected a store such as"),
        (nobody, f"error: {url} cannot be read ("),
    ):
        assert run.code == 2
        assert run.err.startswith(sentence)
        assert len(run.err.splitlines()) == 1


def test_diff(project: Project) -> None:
    done = features(project, "diff", TRAIN, TRAIN)
    assert done.out.strip().splitlines()[-1] == "diff: the same"
    done = features(project, "diff", TRAIN, "data/features/test.zarr")
    assert "0 shared; 96 only in the first, 12 only in the second" in " ".join(done.out.split())
    assert "yes 8 -> 1" in done.out
    assert max(map(len, done.out.splitlines())) <= 80
    found = json.loads(features(project, "diff", TRAIN, TRAIN, "--json").out)
    assert found["same"]
    assert found["values"]["equal"] == 96


def test_the_cache(project: Project) -> None:
    found = json.loads(features(project, "cache", "show", "--json").out)
    assert found["shards"] >= 4
    assert found["folder"].endswith(".cache/features")
    assert "cache: removed 0 shards, 0 MB" in features(project, "cache", "prune").out
    removed = json.loads(features(project, "cache", "prune", "--json").out)
    kinds = ("shards", "bytes", "results", "results_bytes", "checkpoints", "checkpoints_bytes")
    assert removed == dict.fromkeys(kinds, 0)
    done = features(project, "cache", "prune", "--cache-size", "0")
    assert f"cache: removed {found['shards']} shards" in done.out
    assert features(project, "verify", TRAIN).code == 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ["inspect", "none.zarr"],
            "none.zarr does not exist; expected a store such as data/features/train.zarr, which dvc",
        ),
        (["inspect", "data"], "data is not a store"),
        (["inspect", TRAIN, "--clip", "96"], "has no clip 96; expected 0 to 95"),
        (["inspect", TRAIN, "--word", "Yes"], "there is no word 'Yes'; expected one of yes, no,"),
        (["diff", TRAIN, "data/split/train.zarr"], "holds waveforms; expected a store of features"),
        (["diff", TRAIN, "params.yaml"], "params.yaml is not a store"),
        (["inspect", TRAIN, "--word", "yes", "--clip", "1"], "--clip and --word were given; expected one of them"),
        (["inspect", TRAIN, "--sample", "3"], "--sample and --seed choose among the clips of a word; expected --word"),
        (["inspect", TRAIN, "--clip", "1", "--seed", "3"], "--sample and --seed choose among the clips of a word"),
        (
            ["inspect", TRAIN, "--to", "there"],
            "--to is where pictures and sound go; expected --word, --clip, --row or ",
        ),
        (["inspect", "s3://bucket/train.zarr"], "s3://bucket/train.zarr cannot be read (Install s3fs to access S3)"),
        (["cache", "show", "--cache", "."], "the cache folder is the current folder; expected one for shards"),
        (["verify", "params.yaml"], "params.yaml is not a store"),
        (["cache", "prune", "--cache-size", "much"], "the cache size is 'much'"),
    ],
)
def test_mistakes_are_one_sentence(project: Project, arguments: list[str], sentence: str) -> None:
    done = features(project, *arguments)
    assert done.code == 2, done.err
    (line,) = done.err.strip().splitlines()
    assert line.startswith("error: ")
    assert sentence in line


def test_a_set_whose_shards_are_cached_imports_little(project: Project) -> None:
    """Importing is most of what such a run takes."""
    stage = [sys.executable, "-X", "importtime", "-m", "pipeline.featurize", "test"]
    for _ in range(2):
        done = project.run(*stage)
        assert done.code == 0, done.err
    assert ", 0 shards computed" in done.out
    loaded = {line.rsplit("|")[-1].strip().split(".")[0] for line in done.err.splitlines() if "import time:" in line}
    assert {"numpy", "msgspec", "typer"} <= loaded
    assert not loaded & {"dask", "librosa", "pydantic", "rich", "scipy", "tensorflow"}
