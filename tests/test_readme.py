"""Every command of README.md, in order and as written, from a fresh clone.

Reading the page for its commands takes no time. Running them takes half an hour: ``pytest -m readme -s``.
"""

import os
import re
import shutil
import signal
import subprocess
import tarfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import ROOT
from ruamel.yaml import YAML

LIMIT_S = 1800
SPEAKERS = ("anna", "ben", "cleo", "dora", "emil", "finn", "gina", "hugo", "ida", "jan")


def page(name: str = "README.md") -> str:
    return (ROOT / name).read_text("utf-8")


def blocks_of(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def commands_of(text: str) -> list[str]:
    """Lines of shell blocks, and commands inside of sentences, in order."""
    sentences = r"(?<!`)`(uv run [^`]+|git [^`]+&&[^`]+)`(?!`)"
    found = []
    for match in re.finditer(rf"^```(\w+)\n(.*?)^```$|{sentences}", text, re.MULTILINE | re.DOTALL):
        language, block, inline = match.groups()
        if inline:
            found.append(" ".join(inline.split()))
        elif language == "sh":
            found += [re.split(r" +# ", line)[0].strip() for line in block.splitlines()]
    return found


@dataclass
class Clone:
    """A fresh clone of the project, and commands in it as a terminal runs them: no environment is active."""

    folder: Path

    def start(self, command: str) -> "subprocess.Popen[str]":
        print(f"\n$ {command}", flush=True)
        paths = os.environ["PATH"].split(os.pathsep)
        names = {f"GIT_{who}_{what}": "a@b" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("VIRTUAL_ENV", "PYTEST"))},
            **names,
            "PATH": os.pathsep.join(path for path in paths if not Path(path, "activate").exists()),
            "MPLBACKEND": "agg",
        }
        pipe = subprocess.PIPE
        return subprocess.Popen(
            ["bash", "-c", command], cwd=self.folder, env=environment, text=True, start_new_session=True,
            stdout=pipe, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def run(self, command: str) -> str:
        started = time.monotonic()
        process = self.start(command)
        out, _ = process.communicate(timeout=LIMIT_S)
        print(f"{out[-1500:]}\n({time.monotonic() - started:.0f} s)", flush=True)
        assert process.returncode == 0, f"{command} ended with {process.returncode}"
        return out

    @contextmanager
    def going_on(self, command: str, until: str) -> Iterator[str]:
        """Run a command until Ctrl-C; gives the line with which it is ready."""
        process = self.start(command)
        assert process.stdout
        try:
            line = next((line for line in process.stdout if re.search(until, line)), "")
            assert line, f"{command} ended too early"
            print(line, flush=True)
            yield line
        finally:
            os.killpg(process.pid, signal.SIGINT)
            process.communicate(timeout=60)


def browse(clone: Clone, command: str) -> None:
    with clone.going_on(command, "http://") as line:
        address = re.findall(r"http://\S+", line)[0]
        assert b"clips" in urllib.request.urlopen(address).read()


def then_the_python(clone: Clone, command: str) -> None:
    clone.run(command)
    for block in blocks_of(page(), "python"):
        (clone.folder / "block.py").write_text(block, "utf-8")
        clone.run("uv run python block.py")
        (clone.folder / "block.py").unlink()


def sound(word: int, speaker: int, take: int) -> np.ndarray:
    """A tone for each word, in noise; as long as a clip, a little shorter, or longer."""
    rng = np.random.default_rng([word, speaker, take])
    time_s = np.arange(int(16000 * (1.1 + 0.2 * take))) / 16000
    return 0.3 * np.sin(2 * np.pi * (400 + 600 * word + 10 * speaker) * time_s) + 0.02 * rng.standard_normal(
        len(time_s)
    )


def import_recordings(clone: Clone, command: str) -> None:
    """Lay out recordings as the page shows them, and set what it tells to set."""
    (layout,) = blocks_of(page(), "text")
    folders = list(dict.fromkeys(re.findall(r"(\S+)/anna_1", layout)))
    endings = re.findall(r"_1\.(\w+)", layout)
    for word, folder in enumerate(folders):
        (clone.folder / folder).mkdir(parents=True)
        for number, speaker in enumerate(SPEAKERS):
            for take in range(5):
                ending = endings[(number + take) % len(endings)]
                soundfile.write(clone.folder / folder / f"{speaker}_{take}.{ending}", sound(word, number, take), 16000)
    (settings,) = blocks_of(page(), "yaml")
    yaml = YAML()
    params = yaml.load(clone.folder / "params.yaml")
    for section, values in YAML(typ="safe").load(settings).items():
        params[section].update(values)
    yaml.dump(params, clone.folder / "params.yaml")
    clone.run(command)


def import_speech_commands(clone: Clone, command: str) -> None:
    archive = next(word for word in command.split() if word.endswith(".tar.gz"))
    with tarfile.open(clone.folder / archive, "w:gz") as tar:
        for word in (clone.folder / "recordings").iterdir():
            for number, file in enumerate(sorted(word.glob("*.flac"))):
                tar.add(file, f"{word.name}/{number:08x}_nohash_0.flac")
    clone.run(command)


def predict(clone: Clone, command: str) -> None:
    soundfile.write(clone.folder / "recording.wav", sound(1, 0, 1), 16000)
    assert "예" in clone.run(command)


def score(clone: Clone, command: str) -> None:
    shutil.make_archive(str(clone.folder / "recordings"), "zip", clone.folder / "recordings")
    clone.run(command)


def start_queue(clone: Clone, command: str) -> None:
    clone.run(command)
    deadline = time.monotonic() + LIMIT_S
    while "Queued" in (status := clone.run("uv run dvc queue status")) or "Running" in status:
        assert time.monotonic() < deadline
        time.sleep(5)
    assert status.count("Success") == 2


def add_remote(clone: Clone, command: str) -> None:
    """As written; for this machine the place is another one."""
    clone.run(command)
    clone.run(f"uv run dvc remote modify --local shared url {clone.folder.parent / 'remote'}")


def pull(clone: Clone, command: str) -> None:
    other = Clone(clone.folder.parent / "other")
    clone.run(f"git clone -q . {other.folder}")
    (other.folder / ".dvc/config.local").write_text((clone.folder / ".dvc/config.local").read_text())
    assert other.run(command)
    assert (other.folder / "reports/index.html").read_bytes() == (clone.folder / "reports/index.html").read_bytes()


def cluster(clone: Clone, command: str) -> None:
    """On one machine, and with something to compute."""
    scheduler, worker, repro = (each.replace("//host:", "//127.0.0.1:") for each in (*SERVERS, command))
    clone.run("sed -i 's/window: hann/window: hamming/' params.yaml")
    with clone.going_on(scheduler, "Scheduler at"), clone.going_on(worker, "Registered to"):
        clone.run(repro)


RUN = Clone.run
SERVERS = ("uv run dask scheduler", "uv run dask worker tcp://host:8786")
# command                                       | how it is run
STEPS: list[tuple[str, Callable[..., object] | None]] = [
    ("uv run dvc repro",                                                            RUN),
    ("uv run scripts/check",                                                        RUN),
    ("uv run features browse data/features/test.zarr",                              browse),
    ("uv run dvc metrics show",                                                     RUN),
    ("uv run features inspect data/features/train.zarr",                            then_the_python),
    ("uv run dvc dag",                                                              RUN),
    ("uv run features explain",                                                     RUN),
    ("uv run models explain",                                                       RUN),
    ("uv run dvc repro",                                                            RUN),
    ("uv run dvc repro evaluate@skip",                                              RUN),
    ("uv run python -m pipeline.import_recordings recordings recordings.npz --speaker '/(.+)_[0-9]+'",
                                                                                    import_recordings),
    ("uv run dvc repro",                                                            RUN),
    ("uv run python -m pipeline.import_speech_commands speech_commands_v0.02.tar.gz speech_wav_8000.npz",
                                                                                    import_speech_commands),
    ("uv run models predict recording.wav",                                         predict),
    ("uv run models score base recordings.zip",                                     score),
    ("uv run models export base --to tflite",                                       RUN),
    ('git add dvc.lock metrics params.yaml marks.tsv && git commit -m "First run"', RUN),
    ("uv run dvc exp run -S models.skip.dropout=0.5",                               RUN),
    ("uv run dvc exp show --only-changed --drop 'artifacts.*|data/.*|reports.*'",   RUN),
    ("uv run dvc metrics diff",                                                     RUN),
    ("git restore . && uv run dvc checkout",                                        RUN),
    ("uv run dvc checkout",                                                         RUN),
    ("uv run dvc exp run --queue -S 'models.skip.dropout=0.1,0.5'",                 RUN),
    ("uv run dvc queue start",                                                      start_queue),
    ("uv run dvc queue status",                                                     RUN),
    ("uv run models seeds res res_small --seeds 5",                                 RUN),
    ("uv run dvc remote add --default shared /mnt/shared/spoken-words",             add_remote),
    ('git commit -m "A place to share results" .dvc/config',                        RUN),
    ("uv run dvc push",                                                             RUN),
    ("uv run dvc pull",                                                             pull),
    ("uv run dvc add recordings.npz",                                               RUN),
    ("uv run --with dvc-s3 dvc push",                                               None),  # needs a bucket
    *((server,                                                                      None) for server in SERVERS),
    ("SCHEDULER=tcp://host:8786 uv run dvc repro",                                  cluster),  # and both of these
]  # fmt: skip


def test_every_command_is_among_those_that_are_run() -> None:
    assert commands_of(page()) == [command for command, _ in STEPS]


def test_the_translation_has_the_same_commands() -> None:
    assert commands_of(page("README.ko.md")) == commands_of(page())


@pytest.mark.readme
@pytest.mark.skipif(not shutil.which("uv"), reason="the commands need uv")
def test_every_command_runs(tmp_path: Path) -> None:
    clone = Clone(tmp_path / "clone")
    subprocess.run(["git", "clone", "-q", ROOT, clone.folder], check=True)
    for command, how in STEPS:
        if how:
            how(clone, command)
