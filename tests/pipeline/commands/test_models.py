"""The command models, with a small network that learned to tell tones from noise."""

import io
import json
import os
import re
import shutil
import sys
import tarfile
import threading
from collections.abc import Callable
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import soxr
from conftest import ROOT, Finished, Project, copy_product, in_this_process
from packaging.requirements import Requirement

from features.store.reader import WaveformStore
from models.predictions import read_predictions
from models.saved import load_keras
from pipeline.commands.models.__main__ import main

WORDS = ["low", "high", "unknown", "silence"]
TONES = {"low": (300, 500), "high": (1500, 2000)}
RATE_HZ = 8000


def sound(word: str, seed: int, rate_hz: int = RATE_HZ, seconds: float = 0.5) -> np.ndarray:
    """A tone in noise; noise alone for silence; two tones for unknown."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate_hz)) / rate_hz
    bands = {"unknown": list(TONES.values()), "silence": []}.get(word, [TONES.get(word)])
    samples = 0.01 * rng.normal(size=time.size)
    for band in bands:
        frequency, onset, length = rng.uniform(*band), rng.uniform(0, 0.15), 0.3
        burst = (time >= onset * seconds / 0.5) & (time < onset * seconds / 0.5 + length)
        samples += 0.4 * rng.uniform(0.5, 1) * np.sin(2 * np.pi * frequency * time) * burst
    return samples.astype(np.float32)


def stream_of(parts: list[str], rate_hz: int, seed: int = 0) -> np.ndarray:
    """Words with pauses of noise: 1.5 s each, the word from 0.5 s on."""
    pieces = []
    for number, word in enumerate(parts):
        pause = [sound("silence", seed + 10 * number + part, rate_hz) for part in (0, 1)]
        pieces += [pause[0], sound(word, seed + 10 * number + 2, rate_hz), pause[1]]
    return np.concatenate(pieces)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with a trained and evaluated network, base, and a copy of it, skip; read only."""
    project = copy_product(tmp_path_factory.mktemp("trained"))
    project.set(
        **{
            "corpus": {"words": WORDS, "sample_rate_hz": RATE_HZ, "clip_seconds": 0.5},
            "features.n_fft": 64,
            "features.hop_length": 64,
            "models.base.dimensions": 1,  # learns this better than 2, in a quarter of the time
            "train.epochs": 10,
            "train.learning_rate": 0.003,
            "train.precision": "float32",
            "split.test_fraction": 0.2,
        }
    )
    words = np.repeat(WORDS, 60)
    waves = np.stack([sound(word, seed) for seed, word in enumerate(words)])
    speakers = np.array([f"s{number % 20}" for number in range(len(words))])
    project.save_npz({"wav_vals": waves, "label_vals": words, "group_vals": speakers})
    for stage in ("split", "featurize train", "featurize validation", "featurize test", "train base", "evaluate base"):
        done = project.stage_here(*stage.split())
        assert done.code == 0, done.err
    shutil.copytree(project.folder / "artifacts/base", project.folder / "artifacts/skip")
    metrics = json.loads((project.folder / "metrics/base.json").read_text())
    assert metrics["accuracy"] > 0.95, "the network must have learned for the tests to mean anything"
    return project


def models(project: Project, *arguments: str, folder: Path | None = None, stdin: bytes = b"") -> Finished:
    """Run the command in the project or another folder; in this process, because TensorFlow takes seconds to load."""
    return in_this_process(folder or project.folder, main, "models", *arguments, stdin=stdin)


def predicted(project: Project, *arguments: str, stdin: bytes | None = None) -> list[dict]:
    done = models(project, "predict", "--json", *arguments, stdin=stdin)
    assert done.code == 0, done.err
    return json.loads(done.out)["files"]


def write(path: Path, samples: np.ndarray, rate_hz: int, subtype: str | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate_hz, subtype)
    return path


def test_a_word_is_the_same_in_every_form_rate_and_number_of_channels(trained: Project, tmp_path: Path) -> None:
    """Probabilities of forms without loss differ by 0.02 at most."""
    lossless, lossy = [], []
    for rate_hz in (8000, 16000, 22050, 44100, 48000):
        samples = soxr.resample(sound("high", 7), RATE_HZ, rate_hz)  # with as much noise as in training
        stereo = np.stack([samples, samples], axis=1)
        subtypes = ("PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE")
        lossless += [write(tmp_path / f"{rate_hz}-{each}.wav", samples, rate_hz, each) for each in subtypes]
        lossless.append(write(tmp_path / f"{rate_hz}.flac", samples, rate_hz))
        lossless.append(write(tmp_path / f"{rate_hz}-stereo.wav", stereo, rate_hz))
        lossy.append(write(tmp_path / f"{rate_hz}-u8.wav", samples, rate_hz, "PCM_U8"))
        lossy.append(write(tmp_path / f"{rate_hz}.ogg", samples, rate_hz))
        lossy.append(write(tmp_path / f"{rate_hz}.mp3", samples, rate_hz))
    answers = predicted(trained, *map(str, lossless + lossy))
    assert {answer["file"]: answer["word"] for answer in answers if answer["word"] != "high"} == {}
    same = np.array([list(answer["probabilities"].values()) for answer in answers[: len(lossless)]])
    assert np.ptp(same, axis=0).max() <= 0.02


def test_words_in_a_long_recording_are_found_where_they_are(trained: Project, tmp_path: Path) -> None:
    parts = ["low", "silence", "high", "unknown", "low", "high", "high"]
    path = write(tmp_path / "long.wav", stream_of(parts, 16000), 16000)
    (answer,) = predicted(trained, str(path))
    assert answer["seconds"] == pytest.approx(1.5 * len(parts))
    assert [event["word"] for event in answer["events"]] == ["low", "high", "low", "high", "high"]
    places = [1.5 * number + 0.5 for number, part in enumerate(parts) if part in TONES]
    for event, start_s in zip(answer["events"], places, strict=True):
        assert start_s - 0.3 <= event["start_s"] < event["end_s"] <= start_s + 0.8
        assert 0.7 <= event["probability"] <= 1
    printed = models(trained, "predict", str(path)).out.splitlines()
    assert printed[0] == f"{path}: 5 words of at least 70.0% in 10.5 s"
    assert re.fullmatch(r" +\d\.\d\d to \d\.\d\d s  low \d\d\.\d%", printed[1])
    (strict,) = predicted(trained, str(path), "--threshold", "1")
    assert len(strict["events"]) < 5


def test_folders_and_standard_input(trained: Project, tmp_path: Path) -> None:
    for number in range(70):  # more than are read at once
        write(tmp_path / f"in/{number:02}.wav", sound(WORDS[number % 2], number), RATE_HZ)
    (tmp_path / "in/notes.txt").write_text("text")
    done = models(trained, "predict", "--json", str(tmp_path / "in"))
    assert done.code == 0
    assert "warning: 1 file in" in done.err
    answers = json.loads(done.out)["files"]
    assert [answer["file"] for answer in answers] == [str(tmp_path / f"in/{number:02}.wav") for number in range(70)]
    assert [answer["word"] for answer in answers] == [WORDS[number % 2] for number in range(70)]
    (from_stdin,) = predicted(trained, "-", stdin=(tmp_path / "in/03.wav").read_bytes())
    assert (from_stdin["file"], from_stdin["word"]) == ("-", answers[3]["word"])
    assert from_stdin["probability"] == pytest.approx(answers[3]["probability"], abs=1e-6)


BAD: dict[str, Callable[[Path], object]] = {
    "empty.wav": lambda path: path.write_bytes(b""),
    "text.wav": lambda path: path.write_text("this is no sound"),
    "nothing.wav": lambda path: soundfile.write(path, np.zeros(0), RATE_HZ),
    "nan.wav": lambda path: soundfile.write(path, np.full(4000, np.nan), RATE_HZ, "FLOAT"),
    "unscaled.wav": lambda path: soundfile.write(path, np.full(9000, 20000.0), RATE_HZ, "FLOAT"),
    "missing.wav": lambda path: None,
}


def test_what_cannot_be_heard_is_refused_in_one_sentence_each_and_the_rest_is_answered(
    trained: Project, tmp_path: Path
) -> None:
    for name, make in BAD.items():
        make(tmp_path / name)
    good = write(tmp_path / "good.wav", sound("low", 1), RATE_HZ)
    done = models(trained, "predict", *(str(tmp_path / name) for name in BAD), str(good))
    assert done.code == 2
    errors = done.err.strip().splitlines()
    assert len(errors) == len(BAD)
    for error, name in zip(errors, BAD, strict=True):
        assert error.startswith(f"error: {tmp_path / name} ")
        assert "; expected " in error
    assert done.out.startswith(f"{good}: low ")


def test_bad_folders_devices_and_names_hide_no_good_recording(trained: Project, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    good = write(tmp_path / "good.wav", sound("low", 1), RATE_HZ)
    done = models(trained, "predict", "--json", str(tmp_path / "empty"), "/dev/zero", "", str(good))
    assert done.code == 2
    *errors, answer = json.loads(done.out)["files"]
    assert [each["error"].split(";")[0] for each in errors] == ["holds no recording", "is a device", "is no name"]
    assert (answer["file"], answer["word"]) == (str(good), "low")


def test_a_pipe_is_heard_like_a_file(trained: Project, tmp_path: Path) -> None:
    content = write(tmp_path / "a.wav", sound("high", 1), RATE_HZ).read_bytes()
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=[content])
    writer.start()
    (answer,) = predicted(trained, str(tmp_path / "pipe"))
    writer.join()
    assert answer["word"] == "high"


def test_odd_recordings_get_an_answer_that_says_what_is_odd(trained: Project, tmp_path: Path) -> None:
    short = write(tmp_path / "short.wav", sound("low", 1, seconds=0.05), RATE_HZ)
    silent = write(tmp_path / "silent.wav", np.zeros(4000), RATE_HZ)
    loud = write(tmp_path / "loud.wav", np.sign(np.random.default_rng(0).normal(size=4000)), RATE_HZ)
    whole = write(tmp_path / "whole.wav", sound("low", 1), RATE_HZ).read_bytes()
    (tmp_path / "cut.wav").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "lies.wav").write_bytes(whole.replace(b"data" + (8000).to_bytes(4, "little"), b"data\xff\xff\xff\x7e"))
    long = stream_of(["low"], RATE_HZ)
    inverted = write(tmp_path / "inverted.wav", np.stack([long, -long], axis=1), RATE_HZ)
    names = (short, silent, loud, tmp_path / "cut.wav", tmp_path / "lies.wav", inverted)
    answers = {Path(answer["file"]).stem: answer for answer in predicted(trained, *map(str, names))}
    assert answers["short"]["remarks"] == "padded by 0.450 s"
    assert answers["silent"]["remarks"] == "silent"
    assert answers["loud"]["remarks"] == ""
    assert "its header promises" in answers["cut"]["remarks"]
    assert "its header promises" in answers["lies"]["remarks"]
    assert answers["lies"]["word"] == "low"
    assert answers["inverted"]["remarks"] == "channel 1 taken, the channels cancel each other"
    assert [event["word"] for event in answers["inverted"]["events"]] == ["low"]


def test_memory_is_flat_in_the_length_of_a_recording(trained: Project, tmp_path: Path) -> None:
    for minutes in (1, 10):
        write(tmp_path / f"{minutes}.wav", np.tile(stream_of(["low"], 16000), 40 * minutes), 16000)
    script = (
        "import re; from pathlib import Path; from pipeline.commands.models.__main__ import app\n"
        "for minutes in (1, 1, 10):\n"
        "    Path('/proc/self/clear_refs').write_text('5')  # the peak is counted from here\n"
        f"    app(['predict', f'{tmp_path}/{{minutes}}.wav'], standalone_mode=False)\n"
        "    print('peak', re.search(r'VmHWM:\\s*(\\d+) kB', Path('/proc/self/status').read_text())[1])\n"
    )
    done = trained.run(sys.executable, "-c", script)
    assert done.code == 0, done.err
    _, short, long = map(int, re.findall(r"^peak (\d+)$", done.out, re.MULTILINE))
    assert (long - short) / 1024 < 20  # MiB; the samples alone are 35 MiB more


def test_the_default_network_is_that_of_the_highest_validation_accuracy(trained: Project, tmp_path: Path) -> None:
    shutil.copytree(trained.folder / "artifacts", tmp_path / "artifacts")
    path = write(tmp_path / "a.wav", sound("low", 1), RATE_HZ)
    for name, accuracy in (("base", 0.1), ("skip", 0.9)):
        history = tmp_path / f"artifacts/{name}/history.csv"
        head, *rows = history.read_text().splitlines()
        at = head.split(",").index("val_accuracy")
        changed = [",".join([*row.split(",")[:at], str(accuracy), *row.split(",")[at + 1 :]]) for row in rows]
        history.write_text("\n".join([head, *changed]) + "\n")
    done = models(trained, "predict", "--json", str(path), folder=tmp_path)
    assert json.loads(done.out)["model"] == "skip"
    done = models(trained, "predict", "--json", "--model", "base", str(path), folder=tmp_path)
    assert json.loads(done.out)["model"] == "base"
    for damage in ("", "epoch,val_accuracy\n1,much\n"):
        (tmp_path / "artifacts/skip/history.csv").write_text(damage)
        done = models(trained, "predict", str(path), folder=tmp_path)
        assert done.code == 2
        assert "artifacts/skip/history.csv is missing or damaged, so the best network is not known" in done.err


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["predict"], "there is nothing to listen to; expected recordings"),
        (
            ["predict", "--model", "nope", "a.wav"],
            "there is no network nope; expected the name of a trained one (base, skip)",
        ),
        (["predict", "--model", "params.yaml", "a.wav"], "params.yaml holds no description of a network"),
        (["predict", "data"], "holds no recording; expected audio files"),
        (["export", "nope", "--to", "keras"], "there is no network nope"),
        (["score", "base", "nowhere"], "nowhere does not exist; expected a folder of recordings"),
        (["score", "base", "nowhere.npz"], "nowhere.npz does not exist"),
        (["score", "base", "--other", "own"], "--other own makes words that no network knows"),
        (["predict", "--microphone"], "--microphone needs the package sounddevice"),
        (["predict", "--threshold", "nan", "a.wav"], "--threshold is nan; expected a probability"),
        (["score", "--streaming", "--hours", "nan"], "--hours is nan; expected more than 0"),
        (["score", "--streaming", "--hours", "inf"], "--hours is inf; expected more than 0"),
    ],
)
def test_bad_requests_are_one_sentence(trained: Project, arguments: list[str], expected: str) -> None:
    done = models(trained, *arguments)
    assert done.code == 2, done.out
    (line,) = [line for line in done.err.splitlines() if not line.startswith("warning: ")]
    assert expected in line


def test_without_a_trained_network_there_is_advice(trained: Project, tmp_path: Path) -> None:
    for arguments in (["predict", "a.wav"], ["score", "--streaming"]):
        done = models(trained, *arguments, folder=tmp_path)
        assert done.code == 2
        assert "run dvc repro first" in done.err
    assert list(tmp_path.iterdir()) == []


# Exports


def environment(folder: Path, *names: str) -> Path:
    """A folder with packages and what they need, linked from here, and nothing else."""
    waiting, seen = list(names), set()
    folder.mkdir()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        package = distribution(name)
        for text in package.requires or ():
            needed = Requirement(text)
            if needed.marker is None or needed.marker.evaluate({"extra": ""}):
                waiting.append(needed.name)
        for top in {file.parts[0] for file in package.files or () if file.parts[0] not in ("..", "__pycache__")}:
            link = folder / top
            if not link.exists():
                link.symlink_to(Path(str(package.locate_file(top))))
    return folder


def examples() -> dict[str, str]:
    """The programs in docs/using.md, by the export that they use."""
    blocks = re.findall(
        r"```python\n(# (?:the folder )?(base[.\w]*).*?)```", (ROOT / "docs/using.md").read_text(), re.DOTALL
    )
    return {name: program for program, name in blocks}


@pytest.fixture(scope="module")
def listed(trained: Project) -> dict[str, Any]:
    """What is said of the exports for TFLite."""
    done = models(trained, "export", "base", "--to", "tflite", "--json")
    assert done.code == 0, done.err
    return json.loads(done.out)


@pytest.fixture(scope="module")
def exports(trained: Project, listed: dict[str, Any]) -> dict[str, Path]:
    """Every export of base."""
    for to in ("savedmodel", "keras"):
        done = models(trained, "export", "base", "--to", to)
        assert done.code == 0, done.err
        assert done.err == ""
    return {path.name: path for path in (trained.folder / "exports").iterdir()}


def test_exports_are_listed_with_size_accuracy_and_cost(trained: Project, listed: dict[str, Any]) -> None:
    whole, int8 = listed["exports"]
    assert whole["path"] == "exports/base.tflite"
    assert int8["path"] == "exports/base-int8.tflite"
    assert whole["largest_difference"] <= 1e-4
    assert whole["accuracy"] == whole["accuracy_of_pipeline"] > 0.95
    assert abs(int8["accuracy"] - whole["accuracy"]) <= 0.01
    assert whole["bytes"] == (trained.folder / "exports/base.tflite").stat().st_size > 3 * int8["bytes"]
    assert listed["multiply_adds"]["transform"] == 64 * 66 * 63
    (cost,) = json.loads((trained.folder / "metrics/base.json").read_text())["cost"]
    assert listed["multiply_adds"]["network"] == cost["multiply_adds"]


@pytest.mark.parametrize("name", ["base.tflite", "base", "base.keras"])
def test_the_readmes_program_needs_the_export_alone(exports: dict[str, Path], name: str, tmp_path: Path) -> None:
    """In an environment with TensorFlow alone, or the interpreter alone, and without the project."""
    packages = ["ai-edge-litert", "numpy"] if name == "base.tflite" else ["tensorflow"]
    site = environment(tmp_path / "site", *packages)
    here = tmp_path / "elsewhere"
    here.mkdir()
    (shutil.copytree if exports[name].is_dir() else shutil.copy)(exports[name], here / name)
    (here / "program.py").write_text(examples()[name])
    for word in ("low", "high"):
        write(here / f"{word}.wav", sound(word, 3), RATE_HZ)
    run = "import runpy, sys\nfor sys.argv[1] in ('low.wav', 'high.wav'): runpy.run_path('program.py')"
    done = Project(here).run(sys.executable, "-S", "-c", run, "", env={"PYTHONPATH": str(site)})
    assert done.code == 0, done.err
    assert [line.split()[0] for line in done.out.splitlines()] == ["low", "high"]


def test_the_environments_lack_what_they_are_to_lack(tmp_path: Path) -> None:
    site = environment(tmp_path / "site", "ai-edge-litert", "numpy")
    for module in ("tensorflow", "keras", "features", "soundfile"):
        done = Project(tmp_path).run(sys.executable, "-S", "-c", f"import {module}", env={"PYTHONPATH": str(site)})
        assert "ModuleNotFoundError" in done.err


@pytest.mark.parametrize("name", ["base.tflite", "base-int8.tflite", "base", "base.keras"])
def test_exports_predict_and_score_like_the_network(
    trained: Project, exports: dict[str, Path], name: str, tmp_path: Path
) -> None:
    path = write(tmp_path / "long.wav", stream_of(["low", "high"], 16000), 16000)
    (answer,) = predicted(trained, "--model", str(exports[name]), str(path))
    assert [event["word"] for event in answer["events"]] == ["low", "high"]
    scored = json.loads(models(trained, "score", str(exports[name]), "--json").out)
    metrics = json.loads((trained.folder / "metrics/base.json").read_text())
    assert scored["accuracy"] == pytest.approx(metrics["accuracy"], abs=0.01)


def test_a_network_that_differs_is_not_exported(trained: Project, tmp_path: Path) -> None:
    """A description with another transform than training had is what an export must not let pass."""
    project = Project(tmp_path / "project")
    shutil.copytree(trained.folder, project.folder, symlinks=True)
    edited = project.folder / "models/networks/transform.py"
    edited.write_text(
        edited.read_text()
        .replace("strides=transform.hop_length", "strides=transform.hop_length - 0")
        .replace("np.cos(phase)", "1.01 * np.cos(phase)")
    )
    command = ("pipeline.commands.models", "export", "base", "--to", "keras", "--out", "new")
    done = project.run(sys.executable, "-m", *command)
    assert done.code == 2
    assert "differs from the pipeline by up to" in done.err
    assert list((project.folder / "new").iterdir()) == []


@pytest.mark.parametrize("name", ["base.tflite", "base", "base.keras"])
def test_a_damaged_export_is_refused(trained: Project, exports: dict[str, Path], name: str, tmp_path: Path) -> None:
    damaged = tmp_path / name
    (shutil.copytree if exports[name].is_dir() else shutil.copy)(exports[name], damaged)
    file = next(damaged.glob("variables/*.data*")) if damaged.is_dir() else damaged
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 255
    file.write_bytes(content)
    path = write(tmp_path / "a.wav", sound("low", 1), RATE_HZ)
    done = models(trained, "predict", "--model", str(damaged), str(path))
    assert done.code == 2
    assert re.search(r"error: .* (is not what was written|cannot be loaded)", done.err)


def test_an_export_replaces_exports_only(trained: Project, tmp_path: Path) -> None:
    (tmp_path / "base.keras").write_text("mine")
    done = models(trained, "export", "base", "--to", "keras", "--out", str(tmp_path))
    assert done.code == 2
    assert "exists and is no exported network" in done.err
    assert (tmp_path / "base.keras").read_text() == "mine"
    (tmp_path / "base.keras").unlink()
    for _ in range(2):
        assert models(trained, "export", "base", "--to", "savedmodel", "--out", str(tmp_path)).code == 0


# Scoring


def test_score_of_the_test_set_is_the_evaluation(trained: Project) -> None:
    scored = json.loads(models(trained, "score", "base", "--json").out)
    metrics = json.loads((trained.folder / "metrics/base.json").read_text())
    assert scored["accuracy"] == metrics["accuracy"]
    assert scored["accuracy_ci95"] == metrics["accuracy_ci95"]
    assert scored["loss"] == pytest.approx(metrics["loss"], abs=1e-5)
    assert scored["words"] == metrics["words"]
    found = read_predictions(trained.folder / "artifacts/base/predictions.csv")
    rows = zip(found.source_rows, found.labels, found.predicted, strict=True)
    evaluated = {f"row {row}": (found.words[label], found.words[guess]) for row, label, guess in rows}
    assert {each["clip"]: (each["actual"], each["predicted"]) for each in scored["predictions"]} == evaluated
    matrix = np.array(scored["confusion"]["clips"])
    assert matrix.sum() == scored["clips"] == len(evaluated)
    assert np.trace(matrix) == round(scored["accuracy"] * scored["clips"])


def test_clips_that_were_trained_on_are_told(trained: Project) -> None:
    done = models(trained, "score", "base", "input.npz", "--json")
    folder = trained.folder / "data/split"
    known = sum(WaveformStore.open(folder / f"{name}.zarr").clips for name in ("train", "validation"))
    assert json.loads(done.out)["clips_of_training"] == known
    assert f"{known} clips of these 240 are in this project's training or validation set" in done.err


def test_a_network_of_other_words_is_told(trained: Project, tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", sound("high", 7), RATE_HZ)
    assert "other words" not in models(trained, "predict", str(path)).err
    (tmp_path / "artifacts").symlink_to(trained.folder / "artifacts")
    shutil.copy(trained.folder / "params.yaml", tmp_path)
    Project(tmp_path).set(**{"corpus.words": ["yes", "no"]})
    told = f"base was trained on other words than those in params.yaml, {', '.join(WORDS)}; run dvc repro evaluate@base"
    for choice in ([], ["--model", "base"]):
        assert told in models(trained, "predict", *choice, str(path), folder=tmp_path).err
    file = str(trained.folder / "artifacts/base/model.keras")
    assert "other words" not in models(trained, "predict", "--model", file, str(path), folder=tmp_path).err


@pytest.mark.parametrize("form", ["folder", "tar", "npz"])
def test_recordings_are_scored_as_an_import_would_make_them(trained: Project, form: str, tmp_path: Path) -> None:
    words = WORDS * 5
    files = {f"{word}/{number}.wav": sound(word, 500 + number, 16000) for number, word in enumerate(words)}
    for name, samples in files.items():
        write(tmp_path / "in" / name, samples, 16000)
    write(tmp_path / "in/low/wrong.wav", sound("high", 1), RATE_HZ)
    source = tmp_path / "in"
    if form == "tar":
        source = tmp_path / "in.tar.gz"
        with tarfile.open(source, "w:gz") as archive:
            archive.add(tmp_path / "in", "in")
    if form == "npz":
        source = tmp_path / "in.npz"
        done = trained.stage("import_recordings", str(tmp_path / "in"), str(source))
        assert done.code == 0, done.err
    done = models(trained, "score", "base", str(source), "--json")
    assert done.code == 0, done.err
    scored = json.loads(done.out)
    assert scored["clips"] == 21
    assert scored["accuracy"] == pytest.approx(20 / 21)
    (wrong,) = [each for each in scored["predictions"] if each["actual"] != each["predicted"]]
    assert (wrong["actual"], wrong["predicted"]) == ("low", "high")
    if form != "npz":
        assert wrong["clip"].endswith("low/wrong.wav")
    printed = models(trained, "score", "base", str(source)).out.splitlines()
    assert printed[0].startswith(f"score: base is right on 95.2% of 21 clips of {source} (95% interval 77.3% to 99.2%)")
    assert re.fullmatch(r"low +6 +83\.3% +100\.0%  high 1", printed[2])


def test_words_that_the_network_does_not_know(trained: Project, tmp_path: Path) -> None:
    write(tmp_path / "low/a.wav", sound("low", 1), RATE_HZ)
    write(tmp_path / "bird/a.wav", sound("unknown", 2), RATE_HZ)
    done = models(trained, "score", "base", str(tmp_path))
    assert done.code == 2
    assert "has words that the network does not know: bird; expected low, high, unknown, silence" in done.err
    assert json.loads(models(trained, "score", "base", str(tmp_path), "--other", "unknown", "--json").out)["clips"] == 2
    assert (
        json.loads(models(trained, "score", "base", str(tmp_path), "--other", "leave-out", "--json").out)["clips"] == 1
    )


TWO = np.stack([sound("low", 1), sound("low", 2)])
NAN = np.concatenate([TWO, TWO, TWO])
NAN[3, 5] = np.nan


@pytest.mark.parametrize(
    ("arrays", "expected"),
    [
        ({"wav_vals": NAN}, "row 3 of bad.npz holds NaN"),
        ({"wav_vals": 32767 * TWO}, "holds NaN, or samples up to"),
        ({"wav_vals": TWO, "sample_rate": 16000}, "which is what the network was trained for"),
        ({"wav_vals": TWO[:, :100]}, "which is what the network was trained for"),
    ],
)
def test_an_npz_that_is_not_the_networks_is_refused(
    trained: Project, arrays: dict[str, np.ndarray], expected: str
) -> None:
    arrays = {**arrays, "label_vals": np.array(["low"] * len(arrays["wav_vals"]))}
    np.savez(trained.folder / "bad.npz", **arrays)
    done = models(trained, "score", "base", "bad.npz")
    assert done.code == 2
    assert expected in done.err


def test_a_damaged_npz_is_refused(trained: Project) -> None:
    path = trained.folder / "flip.npz"
    np.savez(path, wav_vals=np.stack([sound("low", seed) for seed in range(5)]), label_vals=np.array(["low"] * 5))
    content = bytearray(path.read_bytes())
    content[5000] ^= 1
    path.write_bytes(content)
    done = models(trained, "score", "base", "flip.npz")
    assert done.code == 2
    assert "do not match the checksum" in done.err


def test_a_stream_of_other_clips_leaves_the_threshold_alone(trained: Project, tmp_path: Path) -> None:
    for number in range(3):
        write(tmp_path / f"low/{number}.wav", sound("low", number), RATE_HZ)
    kept = trained.folder / "artifacts/base/streaming.json"
    before = kept.read_bytes() if kept.exists() else None
    done = models(trained, "score", "base", str(tmp_path), "--streaming", "--hours", "0.05")
    assert done.code == 0, done.err
    assert "the clips hold no silence" in done.err
    assert (kept.read_bytes() if kept.exists() else None) == before


def test_streaming_finds_a_threshold_that_predict_uses(trained: Project, tmp_path: Path) -> None:
    done = models(trained, "score", "--streaming", "--hours", "0.1", "--json")
    assert done.code == 0, done.err
    results = json.loads(done.out)
    assert [result["model"] for result in results] == ["base", "skip"]
    for result in results:
        assert result["missed"] < 0.3  # in bfloat16 the two networks miss a word more
        assert result["false_alarms_per_hour"] <= 1
        assert -0.3 < result["delay_s"] < 0.5
        assert result["words_to_find"] + result["other_words"] == 36
        assert result["noise_s"] == 6.0
        table = (trained.folder / f"streaming/{result['model']}.csv").read_text().splitlines()
        assert table[0] == "threshold,false_alarms,false_alarms_per_hour,missed,delay_s"
        shares = [float(row.split(",")[3]) for row in table[1:]]
        assert shares == sorted(shares)
    path = write(tmp_path / "a.wav", stream_of(["low"], RATE_HZ), RATE_HZ)
    done = models(trained, "predict", "--json", "--model", "base", str(path))
    assert json.loads(done.out)["threshold"] == results[0]["threshold"]
    out = tmp_path / "out"
    assert models(trained, "export", "base", "--to", "keras", "--out", str(out)).code == 0
    done = models(trained, "predict", "--json", "--model", str(out / "base.keras"), str(path))
    assert json.loads(done.out)["threshold"] == results[0]["threshold"]
    table = (trained.folder / "streaming/base.csv").read_bytes()
    _, heads, row, *_ = models(trained, "score", "base", "--streaming", "--hours", "0.1").out.splitlines()
    assert heads.split() == ["network", "threshold", "false", "alarms/h", "(below)", "missed", "delay"]
    assert row.split()[:2] == ["base", f"{results[0]['threshold']:.3f}"]
    assert (trained.folder / "streaming/base.csv").read_bytes() == table, "a second time gives another result"
    (trained.folder / "artifacts/base/streaming.json").write_text(json.dumps({**results[0], "network": "another"}))
    done = models(trained, "predict", "--json", "--model", "base", str(path))
    assert json.loads(done.out)["threshold"] == 0.7
    assert "base was trained again after its threshold was measured" in done.err


def test_the_microphone_reports_words_as_they_are_heard(trained: Project, tmp_path: Path) -> None:
    """A sounddevice that plays a recording and then presses Ctrl-C stands in for a microphone."""
    write(tmp_path / "said.wav", stream_of(["low", "high"], 16000), 16000)
    (tmp_path / "sounddevice.py").write_text(
        "import os, signal, soundfile, threading, time\n"
        "class PortAudioError(Exception): pass\n"
        "def query_devices(kind): return {'default_samplerate': 16000.0}\n"
        "class InputStream:\n"
        "    def __init__(self, samplerate, channels, dtype, callback): self.callback = callback\n"
        "    def __enter__(self): threading.Thread(target=self.play, daemon=True).start()\n"
        "    def __exit__(self, *error): pass\n"
        "    def play(self):\n"
        f"        samples, _ = soundfile.read({str(tmp_path / 'said.wav')!r}, dtype='float32', always_2d=True)\n"
        "        for at in range(0, len(samples), 1600): self.callback(samples[at:at + 1600], 1600, None, None)\n"
        "        time.sleep(3)\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
    )
    path = f"{trained.folder}{os.pathsep}{tmp_path}"
    command = (sys.executable, "-m", "pipeline.commands.models", "predict", "--microphone", "--model", "base")
    done = trained.run(*command, env={"PYTHONPATH": path})
    assert done.code == 0, done.err
    first, *heard = done.out.splitlines()
    assert first.endswith("Ctrl-C ends it")
    assert [line.split()[2] for line in heard] == ["low", "high"]


def test_cost_is_beside_accuracy(trained: Project) -> None:
    (cost,) = json.loads((trained.folder / "metrics/base.json").read_text())["cost"]
    assert cost["file_bytes"] == (trained.folder / "artifacts/base/model.keras").stat().st_size
    assert cost["parameters"] == load_keras(trained.folder / "artifacts/base/model.keras").count_params()
    assert cost["multiply_adds"] > 5_000_000
    assert 0 < cost["real_time_factor"] < 1


def test_a_raw_wav_of_a_stream_is_read(trained: Project) -> None:
    """Programs that write to a pipe don't know the length; the header says 0xFFFFFFFF bytes."""
    file = io.BytesIO()
    soundfile.write(file, sound("high", 4), RATE_HZ, "PCM_16", format="WAV")
    content = file.getvalue()
    at = content.index(b"data") + 4
    (answer,) = predicted(trained, "-", stdin=content[:at] + b"\xff\xff\xff\xff" + content[at + 4 :])
    assert (answer["word"], answer["remarks"]) == ("high", "")
