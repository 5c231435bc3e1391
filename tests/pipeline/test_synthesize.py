import io
import re
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, Project, everything, make_arrays
from ruamel.yaml import YAML

from features.corpus import WORDS, Corpus, Recording
from features.sources.npz_writer import write_npz
from pipeline.shell.stage import OUTPUT_FOLDERS

FILE = "data/demo/speech_wav_8000.npz"


def test_the_embedded_corpus_has_the_reference_schema(project: Project) -> None:
    project.set(**{"synthesize.clips": 250})
    done = project.stage("synthesize")
    assert done.code == 0, done.err
    with np.load(project.folder / FILE, allow_pickle=False) as npz:
        waves, labels, groups = npz["wav_vals"], npz["label_vals"], npz["group_vals"]
    assert waves.shape == (250, Corpus().clip_samples)
    assert waves.dtype == np.float32
    assert np.abs(waves).max() <= 1
    assert labels.shape == groups.shape == (250, 1)
    assert labels.dtype.kind == groups.dtype.kind == "U"
    assert labels[:, 0].tolist() == sorted(labels[:, 0].tolist())
    assert set(labels[:, 0]) == set(WORDS)
    assert len(np.unique(waves, axis=0)) == 250
    spoken = groups[labels != "silence"]
    assert len(set(spoken.tolist())) == 21  # one speaker a clip of each word
    loudness = np.sqrt(np.mean(np.square(waves), axis=1))
    assert np.percentile(loudness, 90) > 3 * np.percentile(loudness, 10)


def test_same_settings_same_bytes_other_seed_other_voices(project: Project) -> None:
    contents = []
    for seed in (0, 0, 1):
        project.set(**{"synthesize.seed": seed})
        (project.folder / FILE).unlink(missing_ok=True)
        assert project.stage("synthesize").code == 0
        contents.append((project.folder / FILE).read_bytes())
    assert contents[0] == contents[1] != contents[2]


def test_an_intact_file_of_the_same_settings_and_code_stays(project: Project) -> None:
    path = project.folder / FILE
    assert project.stage("synthesize").code == 0
    made, state = path.read_bytes(), path.stat()
    module = project.folder / "features/sources/demo_corpus.py"
    code = module.read_text()
    module.write_text(f"# A comment.\n{code}")
    done = project.stage("synthesize")
    assert (done.code, done.out) == (0, f"synthesize: {FILE} is up to date\n")
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (state.st_ino, state.st_mtime_ns)

    path.write_bytes(made[:100_000] + bytes([made[100_000] ^ 1]) + made[100_001:])  # a sample: the directory is intact
    assert "clips by" in project.stage("synthesize").out
    assert path.read_bytes() == made

    module.write_text(f"{code}\nUNUSED = 1\n")
    assert "clips by" in project.stage("synthesize").out
    with np.load(path) as npz, np.load(io.BytesIO(made)) as before:
        np.testing.assert_array_equal(npz["wav_vals"], before["wav_vals"])
    module.write_text(code)
    project.set(**{"synthesize.seed": 1})
    assert "clips by" in project.stage("synthesize").out


def test_a_file_of_an_earlier_version_is_replaced(project: Project) -> None:
    path = project.folder / FILE
    path.parent.mkdir(parents=True)
    recording = Recording(np.zeros(Corpus().clip_samples, np.float32), "yes", "a")
    for maker, code in (("spoken-words synthesize", 0), ("somebody else", 2)):
        write_npz(path, 1, [recording], Corpus(), maker=maker)
        assert project.stage("synthesize").code == code


def test_words_are_spoken_and_silence_is_not(project: Project) -> None:
    """A spoken word rises above its own background for a part of its clip; noise does not end."""
    project.set(**{"synthesize.clips": 600})
    assert project.stage("synthesize").code == 0
    with np.load(project.folder / FILE) as npz:
        waves, labels = npz["wav_vals"], npz["label_vals"][:, 0]
    energy = np.square(waves.reshape(len(waves), 40, 200)).mean(axis=2)
    burst = np.sort(energy, axis=1)[:, -8:].mean(axis=1) / np.median(energy, axis=1)
    assert np.median(burst[labels != "silence"]) > 20
    assert np.median(burst[labels == "silence"]) < 3


def test_more_clips_than_voices_are_refused(project: Project) -> None:
    project.set(**{"synthesize.clips": 199_000})
    done = project.stage("synthesize")
    assert done.code == 2
    assert "synthesize.clips is 199000; expected `int` <= 150000" in done.err


def test_a_file_that_it_did_not_write_stays(project: Project) -> None:
    """Neither what a user put there nor the demo corpus with a change of the user's is replaced."""
    path = project.folder / FILE
    assert project.stage("synthesize").code == 0
    ours = path.read_bytes()
    assert project.stage("synthesize").code == 0

    def save_again() -> None:
        with np.load(path) as npz:
            arrays = dict(npz)
        np.savez(path, **arrays)

    def append() -> None:
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr("mine.txt", "x")

    for change in (save_again, append, lambda: path.write_text("no npz"), lambda: path.write_bytes(ours[:5000])):
        path.write_bytes(ours)
        change()
        before = everything(project.folder)
        done = project.stage("synthesize")
        assert done.code == 2
        assert f"{FILE} is not the demo corpus that this stage wrote" in done.err
        assert everything(project.folder) == before


def test_dvc_never_touches_what_a_user_puts_in_its_place(make_repository: Callable[[], Project]) -> None:
    project = make_repository()
    path = project.folder / FILE
    assert project.run("dvc", "repro", "split").code == 0
    own = make_arrays(10, speakers=20)
    for put in (
        lambda: np.savez(path, **own),
        lambda: path.symlink_to(project.folder / "params.yaml"),
        lambda: (path.mkdir(), (path / "thesis.txt").write_text("x")),
    ):
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        put()
        before = everything(path.parent)
        for command in ("repro split", "repro --force split", "exp run split", "checkout --force"):
            done = project.run("dvc", *command.split())
            assert done.code != 0
            assert "Traceback" not in done.err
            assert everything(path.parent) == before
    shutil.rmtree(path)


def test_no_corpus_is_made_while_data_npz_is_another_file(make_repository: Callable[[], Project]) -> None:
    project = make_repository()
    project.save_npz(make_arrays(10, speakers=20))
    done = project.run("dvc", "repro", "split")
    assert done.code == 0, done.err
    assert "synthesize: nothing to do, because data.npz in params.yaml names input.npz" in done.out
    assert not (project.folder / FILE).exists()


@pytest.mark.parametrize("folder", OUTPUT_FOLDERS)
def test_a_linked_folder_is_refused_before_anything_is_made(
    project: Project, tmp_path_factory: pytest.TempPathFactory, folder: str
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (project.folder / folder).parent.mkdir(exist_ok=True)
    (project.folder / folder).symlink_to(elsewhere)
    before = everything(project.folder)
    done = project.stage_here("synthesize")
    assert done.code == 2
    assert done.err.startswith(f"error: {folder} leads to {elsewhere}, outside the project, where DVC keeps no results")
    assert len(done.err.splitlines()) == 1
    assert everything(project.folder) == before
    assert not any(elsewhere.iterdir())


def test_a_folder_linked_inside_the_project_is_used(make_repository: Callable[[], Project]) -> None:
    project = make_repository()
    project.save_npz(make_arrays(10, speakers=20))
    (project.folder / "some/where").mkdir(parents=True)
    (project.folder / "data").symlink_to("some/where")
    done = project.run("dvc", "repro", "split")
    assert done.code == 0, done.err
    assert (project.folder / "some/where/split/test.zarr/manifest.json").exists()


def test_output_folders_are_those_of_dvc() -> None:
    """Beside the link to the npz, all outputs are in these folders or, for networks, in one of their own inside."""
    stages = YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"].values()
    kept = [
        each
        for stage in stages
        for kind in ("outs", "metrics", "plots")
        for each in stage.get("do", stage).get(kind, [])
    ]
    folders = {str(Path(next(iter(each)) if isinstance(each, dict) else each).parent) for each in kept}
    assert {re.sub(r"/\$\{key\}$", "", folder) for folder in folders} == set(OUTPUT_FOLDERS)


def test_a_project_may_be_moved(make_repository: Callable[[], Project]) -> None:
    project = make_repository()
    assert project.run("dvc", "repro", "split").code == 0
    moved = Project(project.folder.rename(project.folder.with_name("moved")))
    done = moved.run("dvc", "repro", "split")
    assert done.code == 0, done.err
    assert "Stage 'split' didn't change, skipping" in done.out
    assert "Running" not in done.out
