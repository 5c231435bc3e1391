import io
import os
import stat
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import Project, everything

FILES = ("yes/0a7c2a8d_nohash_0.wav", "bed/0a7c2a8d_nohash_0.wav", "go/11ffee00_nohash_2.wav", "_silence_/3.wav")


def write_archive(path: Path) -> None:
    rng = np.random.default_rng(0)
    with tarfile.open(path, "w:gz") as archive:
        for name in FILES:
            stream = io.BytesIO()
            soundfile.write(stream, rng.uniform(-0.3, 0.3, 16000), 16000, "PCM_16", format="WAV")
            info = tarfile.TarInfo(name)
            info.size = len(stream.getvalue())
            archive.addfile(info, io.BytesIO(stream.getvalue()))


def test_an_archive_becomes_an_npz_that_split_can_read(project: Project) -> None:
    write_archive(project.folder / "s.tar.gz")
    done = project.stage("import_speech_commands", "s.tar.gz", "out/real.npz")
    assert done.code == 0, done.err
    with np.load(project.folder / "out/real.npz", allow_pickle=False) as npz:
        assert npz["label_vals"][:, 0].tolist() == ["go", "silence", "unknown", "yes"]
        assert npz["group_vals"][:, 0].tolist() == [
            "11ffee00", "_silence_/3.wav", "0a7c2a8d", "0a7c2a8d",
        ]  # fmt: skip
        assert npz["sample_rate"] == 8000
        assert "set_vals" not in npz
        assert npz["wav_vals"].shape == (4, 8000)
        assert npz["wav_vals"].dtype == np.float32
    assert sorted(path.name for path in (project.folder / "out").iterdir()) == ["real.npz", "real.tsv"]


def device(path: Path) -> None:
    """The null device under another name: as root, a rename would replace /dev/null itself."""
    os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 3))


TARGETS: dict[str, tuple[Callable[[Path], object], str]] = {
    "folder": (lambda path: (path.mkdir(), (path / "thesis.txt").write_text("x")), "is a folder"),
    "link to folder": (lambda path: path.symlink_to(path.parent / "data"), "is a link"),
    "link to file": (lambda path: path.symlink_to(path.parent / "params.yaml"), "is a link"),
    "npz": (lambda path: np.savez(path, wav_vals=np.zeros(3)), "exists already"),
    "text": (lambda path: path.write_text("x"), "exists already"),
    "read-only file": (lambda path: (path.write_text("x"), path.chmod(0o444)), "exists already"),
    "pipe": (os.mkfifo, "is a named pipe"),
    "device": (device, "is a device"),
}


@pytest.mark.parametrize("kind", TARGETS)
def test_import_leaves_what_stands_in_its_way(project: Project, kind: str) -> None:
    if kind == "device" and os.geteuid() != 0:
        pytest.skip("only root can make a device")
    make, said = TARGETS[kind]
    write_archive(project.folder / "s.tar.gz")
    (project.folder / "data").mkdir()
    out = project.folder / "out.npz"
    make(out)
    before = everything(project.folder)
    done = project.stage("import_speech_commands", "s.tar.gz", "out.npz")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(f"error: out.npz {said}; expected ")
    assert len(done.err.splitlines()) == 1
    forced = project.stage("import_speech_commands", "s.tar.gz", "out.npz", "--force")
    replaced = kind in ("npz", "text")
    assert forced.code == (0 if replaced else 2), forced.err
    assert replaced or everything(project.folder) == before
    if replaced:
        assert (project.folder / "out.tsv").read_text().count("taken") == len(FILES)


def test_import_never_replaces_its_source(project: Project) -> None:
    write_archive(project.folder / "s.tar.gz")
    (project.folder / "same.npz").hardlink_to(project.folder / "s.tar.gz")
    before = everything(project.folder)
    for out in ("s.tar.gz", "same.npz"):
        done = project.stage("import_speech_commands", "s.tar.gz", out, "--force")
        assert done.code == 2
        assert f"{out} is the source itself" in done.err
    assert everything(project.folder) == before


def test_a_damaged_archive_leaves_nothing(project: Project) -> None:
    write_archive(project.folder / "s.tar.gz")
    content = bytearray((project.folder / "s.tar.gz").read_bytes())
    content[-6] ^= 1  # in gzip's checksum
    (project.folder / "s.tar.gz").write_bytes(content)
    before = everything(project.folder)
    done = project.stage("import_speech_commands", "s.tar.gz", "out.npz")
    assert done.code == 2
    assert "s.tar.gz is not a readable archive (CRC check failed" in done.err
    assert everything(project.folder) == before


def test_nothing_to_import(project: Project) -> None:
    (project.folder / "empty").mkdir()
    done = project.stage("import_speech_commands", "empty", "out.npz")
    assert done.code == 2
    assert "empty gives no clip (no file); expected recordings in a folder for each word, such as yes/1.wav" in done.err
    assert not (project.folder / "out.npz").exists()


@pytest.mark.skipif("SPEECH_COMMANDS" not in os.environ, reason="set SPEECH_COMMANDS to an archive or folder to run it")
def test_real_recordings(project: Project) -> None:
    done = project.stage("import_speech_commands", os.environ["SPEECH_COMMANDS"], "real.npz")
    assert done.code == 0, done.err
    project.set(**{"data.npz": "real.npz"})
    done = project.stage("split")
    assert done.code == 0, done.err
