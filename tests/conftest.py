"""Inputs that tests make for themselves, seeded, and projects they run in: real git and DVC repositories."""

import io
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import find_browser
from playwright.sync_api import Browser, sync_playwright
from ruamel.yaml import YAML

from features.corpus import WORDS, Corpus
from features.featurize import featurize
from features.spectrogram import FeatureSpec
from features.store.cache import ShardCache
from features.store.layout import StoreSpec
from features.store.reader import FeatureStore, WaveformStore
from features.store.writer import ClipColumns, create_waveform_store
from pipeline.shell.stage import run

ROOT = Path(__file__).resolve().parent.parent

SMALL_PARAMS: dict[str, Any] = {
    "synthesize": {"clips": 120, "language": "en", "seed": 0},
    "features": {
        "kind": "magnitude",
        "n_fft": 258,
        "hop_length": 126,
        "window": "hann",
        "n_mels": 40,
        "fmin_hz": 20.0,
        "fmax_hz": None,
        "n_mfcc": 13,
        "deltas": True,
    },
    "store": {"dtype": "float32", "chunk_clips": 8, "shard_clips": 32, "codec": "lz4"},
    "train": {
        "batch_size": 16,
        "epochs": 1,
        "learning_rate": 0.001,
        "schedule": "cosine",
        "early_stopping": 0,
        "class_weights": "none",
        "compression": "log",
        "precision": "auto",
        "seed": 0,
    },
    "models": {
        "base": {"skip_connections": False, "dropout": 0.3, "dense_units": 16},
        "skip": {"skip_connections": True, "dropout": 0.3, "dense_units": 16},
    },
}


SLOWEST = (
    "test_explain", "test_loop", "test_pipeline", "test_train", "test_models", "test_own_npz", "test_seeds",
    "test_explain_networks", "test_export", "test_benchmarks", "test_synthesize", "test_kills",
)  # fmt: skip
"""Modules that take longer than the rest, longest first."""


def pytest_configure(config: pytest.Config) -> None:
    """Let pytest-xdist hand out modules in the order below, instead of those with the most tests first."""
    config.option.loadscopereorder = False


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the slowest modules first, so that all workers end at about the same time."""
    places = {name: place for place, name in enumerate(SLOWEST)}
    items.sort(key=lambda item: places.get(item.path.stem, len(places)))


def make_arrays(per_word: int, *, speakers: int | None = None, seed: int = 0) -> dict[str, np.ndarray]:
    """Arrays of an npz: noise for clips, sorted by word, every clip different."""
    rng = np.random.default_rng(seed)
    words = np.repeat(sorted(WORDS), per_word)
    arrays = {
        "wav_vals": rng.uniform(-0.5, 0.5, (len(words), Corpus().clip_samples)).astype(np.float32),
        "label_vals": words.reshape(-1, 1),
    }
    if speakers is not None:
        arrays["group_vals"] = np.array([f"s{number}" for number in rng.integers(speakers, size=len(words))])[:, None]
    return arrays


def columns(clips: int, seed: int = 0) -> ClipColumns:
    """Labels, rows, digests and recordings of made-up clips."""
    rng = np.random.default_rng(seed)
    rows = rng.permutation(clips)
    return ClipColumns(
        rng.integers(12, size=clips).astype(np.int8),
        rows,
        rng.integers(256, size=(clips, 16)).astype(np.uint8),
        np.array([f"예/{row}.wav" if row % 3 != 1 else "" for row in rows]),
    )


def write_waveforms(path: Path, clips: int, seed: int = 0) -> Path:
    """A waveform store of noise, every clip different."""
    rng = np.random.default_rng(seed)
    store = create_waveform_store(path, columns(clips, seed), f"digest of {clips}, {seed}", {"seed": seed}, Corpus())
    for number, (start, stop) in enumerate(store.shards):
        store.write(number, rng.uniform(-1, 1, (stop - start, Corpus().clip_samples)).astype(np.float32))
    store.finalize()
    return path


def write_clips(path: Path, waves: np.ndarray, clips: ClipColumns, digest: str = "") -> WaveformStore:
    """A waveform store of given clips."""
    store = create_waveform_store(path, clips, digest or str(hash(waves.tobytes())), {"seed": 0}, Corpus())
    for number, (start, stop) in enumerate(store.shards):
        store.write(number, waves[start:stop])
    store.finalize()
    return WaveformStore.open(path)


SMALL_SPEC = FeatureSpec(kind="magnitude", n_fft=64, hop_length=64, window="hann")
SMALL_LAYOUT = StoreSpec(dtype="float32", chunk_clips=4, shard_clips=8, codec="lz4")


def features_of(
    source: WaveformStore, target: Path, spec: FeatureSpec = SMALL_SPEC, layout: StoreSpec = SMALL_LAYOUT
) -> FeatureStore:
    """A feature store of a waveform store."""
    featurize(source.path, target, spec, layout, ShardCache(target.parent / "cache"), workers=2)
    return FeatureStore.open(target)


def contents(path: Path) -> dict[str, bytes]:
    """Every file in a folder."""
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}


def everything(folder: Path) -> dict[str, object]:
    """What is in a folder: files with contents, links with targets, all with their kind."""
    return {
        str(path.relative_to(folder)): (
            stat.S_IFMT(path.lstat().st_mode),
            path.readlink() if path.is_symlink() else path.read_bytes() if path.is_file() else None,
        )
        for path in sorted(folder.rglob("*"))
        if "__pycache__" not in path.parts
    }


def change_params(path: Path, **changes: Any) -> None:
    """Set dotted settings in a params.yaml, for example ``{"train.epochs": 2}``."""
    yaml = YAML(typ="safe")
    params = yaml.load(path)
    for dotted, value in changes.items():
        *parents, last = dotted.split(".")
        section = params
        for parent in parents:
            section = section[parent]
        section[last] = value
    yaml.dump(params, path)


@dataclass(frozen=True)
class Finished:
    """A process that ended."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Project:
    """A copy of the product in a folder of its own."""

    folder: Path

    def run(self, *command: str, env: dict[str, str] | None = None, stdin: str | None = None) -> Finished:
        """Run a command there, with this Python first on the path."""
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        environment = {**os.environ, "PATH": path, **(env or {})}
        done = subprocess.run(
            command, cwd=self.folder, env=environment, input=stdin, capture_output=True, text=True, check=False
        )
        return Finished(done.returncode, done.stdout, done.stderr)

    def start(self, *command: str, env: dict[str, str] | None = None) -> "subprocess.Popen[str]":
        """Start a command there and do not wait for it."""
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        environment = {**os.environ, "PATH": path, **(env or {})}
        pipe = subprocess.PIPE
        return subprocess.Popen(command, cwd=self.folder, env=environment, stdout=pipe, stderr=pipe, text=True)

    def stage(self, name: str, *arguments: str) -> Finished:
        """Run one stage's module."""
        return self.run(sys.executable, "-m", f"pipeline.{name}", *arguments)

    def stage_here(self, name: str, *arguments: str) -> Finished:
        """Run one stage in this process: for tests of what it does, because a process loads TensorFlow for seconds.

        The code is that of this checkout, not of the copy.
        """
        module = import_module(f"pipeline.{name}")
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(sys.modules, "__main__", module)
            return in_this_process(self.folder, lambda: run(module.main), name, *arguments)

    def set(self, **changes: Any) -> None:
        """Change settings of its params.yaml."""
        change_params(self.folder / "params.yaml", **changes)

    def save_npz(self, arrays: dict[str, np.ndarray], *, compressed: bool = False) -> Path:
        """Write the npz that its params.yaml points at."""
        path = self.folder / "input.npz"
        (np.savez_compressed if compressed else np.savez)(path, **arrays)
        self.set(**{"data.npz": "input.npz"})
        return path

    def leftovers(self) -> list[str]:
        """Everything under data, metrics and artifacts."""
        roots = [self.folder / name for name in ("data", "metrics", "artifacts")]
        return sorted(
            str(path.relative_to(self.folder)) for root in roots for path in root.rglob("*") if path.is_file()
        )


def in_this_process(folder: Path, command: Callable[[], object], *argv: str, stdin: bytes = b"") -> Finished:
    """Run a command in a folder, with a command line and standard input and output of its own."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.chdir(folder)
        patch.setattr(sys, "argv", list(argv))
        patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        try:
            command()
        except SystemExit as end:
            code = int(end.code or 0)
    return Finished(code, out.getvalue(), err.getvalue())


def copy_product(folder: Path) -> Project:
    """Copy what the pipeline runs on, with small settings."""
    for name in ("pipeline", "features", "models"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "dvc.lock"))
    for name in ("dvc.yaml", "params.yaml", "marks.tsv", ".gitignore", ".dvcignore"):
        shutil.copy(ROOT / name, folder / name)
    params = YAML(typ="safe").load(folder / "params.yaml")
    YAML(typ="safe").dump({**params, **SMALL_PARAMS}, folder / "params.yaml")
    return Project(folder)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A copy of the product without git or DVC, for running single stages."""
    return copy_product(tmp_path)


@pytest.fixture(scope="session")
def make_repository(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Project]:
    """Make a copy of the product under git and DVC, with settings of its own."""

    def make(**settings: Any) -> Project:
        project = copy_product(tmp_path_factory.mktemp("repository"))
        project.set(**settings)
        shutil.copytree(ROOT / ".dvc", project.folder / ".dvc", ignore=shutil.ignore_patterns("cache", "tmp", "local"))
        for command in (
            ["git", "init", "--quiet"],
            ["git", "config", "user.email", "tests@example.org"],
            ["git", "config", "user.name", "tests"],
            ["git", "add", "--all"],
            ["git", "commit", "--quiet", "--message", "start"],
        ):
            done = project.run(*command)
            assert done.code == 0, done.err
        return project

    return make


@pytest.fixture(scope="session")
def arrays() -> dict[str, np.ndarray]:
    """Ten clips of each word by twenty speakers; read only."""
    made = make_arrays(10, speakers=20)
    for array in made.values():
        array.setflags(write=False)
    return made


@pytest.fixture
def in_folder(tmp_path: Path) -> Iterator[Path]:
    """Be in an empty folder for the length of a test."""
    before = Path.cwd()
    os.chdir(tmp_path)
    yield tmp_path
    os.chdir(before)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Headless Chromium."""
    with sync_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        chromium = playwright.chromium.launch(executable_path=find_browser(), args=flags)
        yield chromium
        chromium.close()
