import io
import os
import tarfile

import numpy as np
import pytest
import soundfile
from conftest import Project

FILES = ("yes/0a7c2a8d_nohash_0.wav", "bed/0a7c2a8d_nohash_0.wav", "go/11ffee00_nohash_2.wav", "_silence_/3.wav")


def test_an_archive_becomes_an_npz_that_split_can_read(project: Project) -> None:
    rng = np.random.default_rng(0)
    with tarfile.open(project.folder / "s.tar.gz", "w:gz") as archive:
        for name in FILES:
            stream = io.BytesIO()
            soundfile.write(stream, rng.uniform(-0.3, 0.3, 16000), 16000, "PCM_16", format="WAV")
            info = tarfile.TarInfo(name)
            info.size = len(stream.getvalue())
            archive.addfile(info, io.BytesIO(stream.getvalue()))
    done = project.stage("import_speech_commands", "s.tar.gz", "out/real.npz")
    assert done.code == 0, done.err
    with np.load(project.folder / "out/real.npz", allow_pickle=False) as npz:
        assert npz["label_vals"][:, 0].tolist() == ["go", "silence", "unknown", "yes"]
        assert npz["group_vals"][:, 0].tolist() == ["11ffee00", "_silence_/3", "0a7c2a8d", "0a7c2a8d"]
        assert npz["wav_vals"].shape == (4, 8000)
        assert npz["wav_vals"].dtype == np.float32
    assert [path.name for path in (project.folder / "out").iterdir()] == ["real.npz"]


def test_nothing_to_import(project: Project) -> None:
    (project.folder / "empty").mkdir()
    done = project.stage("import_speech_commands", "empty", "out.npz")
    assert done.code == 2
    assert "holds no <word>/<name>.wav files" in done.err
    assert not (project.folder / "out.npz").exists()


@pytest.mark.skipif("SPEECH_COMMANDS" not in os.environ, reason="set SPEECH_COMMANDS to an archive or folder to run it")
def test_real_recordings(project: Project) -> None:
    done = project.stage("import_speech_commands", os.environ["SPEECH_COMMANDS"], "real.npz")
    assert done.code == 0, done.err
    project.set(**{"data.npz": "real.npz"})
    done = project.stage("split")
    assert done.code == 0, done.err
