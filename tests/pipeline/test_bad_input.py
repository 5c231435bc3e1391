"""Bad input gets one clear sentence and exit code 2, and leaves nothing half-written."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, Project, make_arrays

from features.corpus import WORDS, Corpus


def test_a_download_without_git_runs_after_what_troubleshooting_says(project: Project) -> None:
    shutil.copytree(ROOT / ".dvc", project.folder / ".dvc", ignore=shutil.ignore_patterns("cache", "tmp", "local"))
    environment = {f"GIT_{who}_{what}": "a@b" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    done = project.run("dvc", "repro", "synthesize")
    assert (done.code != 0, "is not a git repository" in done.err) == (True, True)
    told = (ROOT / "docs/troubleshooting.md").read_text("utf-8")
    (remedy,) = re.findall(r"is not a git repository`\*\*\n[^`]*`([^`]*)`", told)
    assert project.run("sh", "-c", remedy, env=environment).code == 0
    done = project.run("dvc", "repro", "synthesize")
    assert done.code == 0, done.err


def assert_refused(project: Project, sentence: str, *stage: str, here: bool = False) -> None:
    before = project.leftovers()
    done = project.stage_here(*stage) if here else project.stage(*stage)
    lines = done.err.strip().splitlines()
    assert done.code == 2, done.err
    assert len(lines) == 1, done.err
    assert lines[0].startswith("error: ")
    assert sentence in lines[0]
    assert project.leftovers() == before


def broken_arrays(kind: str) -> dict[str, np.ndarray]:
    made = make_arrays(10)
    waves, labels = made["wav_vals"], made["label_vals"]
    match kind:
        case "missing array":
            del made["label_vals"]
        case "pickled objects":
            made["label_vals"] = labels.astype(object)
        case "wrong number of samples":
            made["wav_vals"] = waves[:, :4000]
        case "lengths differ":
            made["label_vals"] = labels[:-1]
        case "ambiguous int16 scale":
            made["wav_vals"] = (waves * 32768).astype(np.float64)
        case "NaN":
            waves[[3, 77], 5] = np.nan
        case "infinite":
            waves[4, 0] = np.inf
        case "unknown word":
            labels[7] = "maybe"
        case "too few clips":
            keep = np.flatnonzero((labels[:, 0] != "yes") | (np.arange(120) % 10 == 0))
            made["wav_vals"], made["label_vals"] = waves[keep], labels[keep]
    return made


BROKEN = {
    "missing array": "has no array label_vals",
    "pickled objects": "pickled Python objects",
    "wrong number of samples": "shape (120, 4000); expected (clips, 8000)",
    "lengths differ": "differ in length",
    "ambiguous int16 scale": "scale is ambiguous",
    "NaN": "2 of 120 clips in input.npz hold NaN or infinite samples (rows 3, 77)",
    "infinite": "1 of 120 clips in input.npz hold NaN or infinite samples (rows 4)",
    "unknown word": "'maybe' in 1 clips (rows 7)",
    "too few clips": "'yes' has too few clips to split",
}


@pytest.mark.parametrize("kind", BROKEN)
@pytest.mark.parametrize("compressed", [False, True])
def test_split_refuses(project: Project, kind: str, compressed: bool) -> None:
    project.save_npz(broken_arrays(kind), compressed=compressed)
    assert_refused(project, BROKEN[kind], "split", here=True)


def test_split_refuses_what_is_no_npz(project: Project) -> None:
    project.set(**{"data.npz": "none.npz"})
    assert_refused(project, "none.npz does not exist", "split", here=True)
    path = project.save_npz(make_arrays(10))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    assert_refused(project, "input.npz is damaged", "split", here=True)
    path.write_text("not a zip")
    assert_refused(project, "input.npz is not a zip file", "split", here=True)
    project.set(**{"data.npz": "."})
    assert_refused(project, "is a folder", "split", here=True)


def test_split_refuses_fractions_that_leave_an_empty_set(project: Project) -> None:
    project.save_npz(make_arrays(10))
    project.set(**{"split.test_fraction": 0.001})
    assert_refused(project, "the test set would be empty", "split", here=True)
    project.set(**{"split.test_fraction": 0.6, "split.validation_fraction": 0.4})
    assert_refused(project, "leave an empty train set", "split", here=True)


@pytest.mark.parametrize(
    ("setting", "stage", "meant"),
    [
        ("split.sed", ["split"], "split.seed"),
        ("synthesize.clip", ["synthesize"], "synthesize.clips"),
        ("features.nfft", ["featurize", "train"], "features.n_fft"),
        ("store.codecs", ["featurize", "train"], "store.codec"),
        ("train.epoch", ["train", "base"], "train.epochs"),
        ("models.skip.drop_out", ["train", "skip"], "models.skip.dropout"),
    ],
)
def test_unknown_settings_are_named_with_the_nearest(
    project: Project, setting: str, stage: list[str], meant: str
) -> None:
    project.set(**{setting: 1})
    assert_refused(project, f"unknown setting {setting}; did you mean {meant}?", *stage)


@pytest.mark.parametrize(
    ("stage", "sentence"),
    [
        (["featurize", "train"], "data/split/train.zarr does not exist"),
        (["train", "base"], "data/features/train.zarr does not exist"),
        (["train", "none"], "no section models.none"),
        (["evaluate", "base"], "artifacts/base/model.keras does not exist"),
        (["import_speech_commands", "none.tar.gz", "out.npz"], "none.tar.gz does not exist"),
    ],
)
def test_stages_without_their_input(project: Project, stage: list[str], sentence: str) -> None:
    assert_refused(project, sentence, *stage)


def test_shards_beyond_all_memory_are_refused(project: Project) -> None:
    project.save_npz(make_arrays(10))
    assert project.stage_here("split").code == 0
    project.set(**{"store.shard_clips": 8 * 10**11})
    assert_refused(project, "this takes more memory than there is (Unable to allocate", "featurize", "train")


def test_a_damaged_network_is_refused(project: Project) -> None:
    trained = project.folder / "artifacts/base/model.keras"
    trained.parent.mkdir(parents=True)
    trained.write_bytes(b"garbage")
    assert_refused(project, "artifacts/base/model.keras cannot be loaded as a network (", "evaluate", "base")


def test_features_too_small_for_the_networks(project: Project) -> None:
    project.save_npz(make_arrays(10))
    project.set(**{"features.n_fft": 16, "features.hop_length": 16})
    for stage in (["split"], ["featurize", "train"], ["featurize", "validation"]):
        assert project.stage_here(*stage).code == 0
    assert_refused(project, "are 9 x 501; expected at least 16 each way", "train", "base")


def test_an_unknown_set_is_refused(project: Project) -> None:
    done = project.stage("featurize", "tests")
    assert done.code == 2
    assert "'tests' is not one of" in done.err


def test_int16_is_converted_and_said(project: Project) -> None:
    made = make_arrays(10)
    made["wav_vals"] = (made["wav_vals"] * 32767).astype(np.int16)
    project.save_npz(made)
    done = project.stage("split")
    assert done.code == 0, done.err
    assert "wav_vals is int16; every sample is divided by 32768" in done.err


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("room_mib", [1, 3])
def test_a_disk_that_fills_up(project: Project, compressed: bool, room_mib: int) -> None:
    """The folder that is written to is a file system of a few MiB, in a mount namespace of the test's own."""
    project.save_npz(make_arrays(10), compressed=compressed)
    results = full_disk(project, room_mib, f"{sys.executable} -m pipeline.split")
    assert results.returncode == 2, results.stderr
    assert results.stderr.startswith("error: there is no room to write")
    assert len(results.stderr.strip().splitlines()) == 1
    assert results.stdout.strip() == "left:"


def full_disk(project: Project, room_mib: int, command: str) -> subprocess.CompletedProcess[str]:
    (project.folder / "data").mkdir()
    script = (
        f"mount -t tmpfs -o size={room_mib}m tmpfs data || exit 99; {command}; code=$?; "
        'echo "left: $(find data -type f)"; exit $code'
    )
    return in_own_mounts(project, script)


def in_own_mounts(project: Project, script: str) -> subprocess.CompletedProcess[str]:
    """Run a shell script whose mounts nobody else sees."""
    unshare = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", "--mount"]
    command = [*unshare, "sh", "-c", script]
    return subprocess.run(command, cwd=project.folder, capture_output=True, text=True, check=False)


def test_a_failing_split_keeps_the_sets_that_were_there(project: Project) -> None:
    project.save_npz(make_arrays(10))
    assert project.stage_here("split").code == 0
    before = {name: (project.folder / name).read_bytes() for name in project.leftovers()}
    project.save_npz(broken_arrays("NaN"))
    assert project.stage("split").code == 2
    assert {name: (project.folder / name).read_bytes() for name in project.leftovers()} == before


def test_what_a_killed_run_left_does_not_stay(project: Project) -> None:
    project.save_npz(make_arrays(10))
    half = project.folder / "data/split/.partial-train.zarr"
    half.mkdir(parents=True)
    (half / "zarr.json").write_text("{")
    assert project.stage_here("split").code == 0
    assert not half.exists()


def test_clips_and_words_are_those_of_the_contract() -> None:
    assert Corpus().clip_samples == 8000
    assert WORDS == ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go", "unknown", "silence")
    assert Path(shutil.which("unshare") or "").exists(), "the full-disk tests need util-linux"
