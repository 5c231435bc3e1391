"""Importing anyone's recordings: nothing is left out, cut or silenced without a word."""

import csv
import io
import json
import os
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import Finished, Project, everything

RATE_HZ = 16000


def sound(seconds: float = 1.0, seed: int = 0) -> np.ndarray:
    return 0.1 * np.random.default_rng(seed).standard_normal(round(seconds * RATE_HZ))


def encoded(samples: np.ndarray, form: str = "WAV", subtype: str | None = None) -> bytes:
    stream = io.BytesIO()
    soundfile.write(stream, samples, RATE_HZ, subtype, format=form)
    return stream.getvalue()


WAV = encoded(sound())


def write(folder: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def tar(path: Path, files: dict[str, bytes]) -> None:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


def zipped(path: Path, files: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)


PACK: dict[str, Callable[[Path, dict[str, bytes]], None]] = {"s": write, "s.tar.gz": tar, "s.zip": zipped}


def imported(project: Project, source: str, *options: str) -> Finished:
    return project.stage_here("import_recordings", source, "out.npz", "--force", "--workers", "1", *options)


def account(project: Project) -> dict[str, dict[str, str]]:
    with open(project.folder / "out.tsv", newline="") as file:
        return {row["path"]: row for row in csv.DictReader(file, delimiter="\t")}


def arrays(project: Project) -> dict[str, np.ndarray]:
    with np.load(project.folder / "out.npz", allow_pickle=False) as npz:
        return dict(npz)


FILES = {
    "yes/a.wav": WAV, "yes/f.WAV": WAV, "yes/g.flac": encoded(sound(), "FLAC"), "yes/sub/k.wav": WAV,
    "yes/._q.wav": b"\0\5\x16\7", "yes/.DS_Store": b"x", "Thumbs.db": b"x", "__MACOSX/yes/a.wav": b"x",
    "No /b.ogg": encoded(sound(), "OGG"), "README.md": b"read me", "no/c.mp3": encoded(sound(), "MP3"),
}  # fmt: skip


@pytest.mark.parametrize("above", ["", "corpus/v2/"])
@pytest.mark.parametrize("source", PACK)
def test_every_file_is_accounted_for(project: Project, source: str, above: str) -> None:
    PACK[source](project.folder / source, {above + name: content for name, content in FILES.items()})
    done = imported(project, source)
    assert done.code == 0, done.err
    assert "files: 11 found, 6 taken, 5 left out\n" in done.out
    assert "left out: is an operating system's own file (4); is not audio (1)\n" in done.out
    assert "taken: 6 resampled" in done.out
    assert "import: 6 clips (no 2, yes 4) -> out.npz" in done.out
    rows = account(project)
    assert set(rows) == {above + name for name in FILES}
    assert {name for name, row in rows.items() if row["outcome"] == "taken"} == {
        above + name for name in FILES if name.startswith(("yes/a", "yes/f", "yes/g", "yes/sub", "No", "no"))
    }
    made = arrays(project)
    assert made["label_vals"][:, 0].tolist() == ["no"] * 2 + ["yes"] * 4
    assert {row["path"]: int(row["row"]) for row in rows.values() if row["row"]} == {
        name: row for row, name in enumerate(made["recording_vals"][:, 0])
    }
    assert made["wav_vals"].shape == (6, 8000)
    assert made["sample_rate"] == 8000


def test_speakers_are_known_or_said_to_be_unknown(project: Project) -> None:
    names = [f"{word}/{who}_{take}.wav" for word in ("yes", "no") for who in ("anna", "ben", "cleo") for take in "012"]
    write(project.folder / "s", {name: encoded(sound(seed=seed)) for seed, name in enumerate(names)})
    done = imported(project, "s")
    assert "speakers: unknown of 18 clips" in done.out
    assert "group_vals" not in arrays(project)
    assert "speakers: 3 speakers: anna, ben, cleo\n" in imported(project, "s", "--speaker", r"([^/]+)_\d").out
    assert set(arrays(project)["group_vals"][:, 0]) == {"anna", "ben", "cleo"}
    project.set(**{"data.npz": "out.npz", "split.test_fraction": 0.34, "split.validation_fraction": 0.33})
    assert project.stage_here("split").code == 0
    summary = json.loads((project.folder / "metrics/split.json").read_text())
    assert summary["speakers_known"] is True
    assert [summary["sets"][name]["groups"] for name in ("train", "validation", "test")] == [1, 1, 1]
    imported(project, "s", "--speaker", "([^/]+)_0")  # some are known
    assert "speakers: unknown of 12 clips" in imported(project, "s", "--speaker", "([^/]+)_0").out
    done = project.stage_here("split")
    assert json.loads((project.folder / "metrics/split.json").read_text())["speakers_known"] is False
    assert "; the npz does not name all speakers, so the test set may hold voices of the training set" in done.out


def test_other_words_are_chosen(project: Project) -> None:
    write(project.folder / "s", {"yes/a.wav": WAV, "예/a.wav": WAV, "예/b.wav": WAV, "marvin/a.wav": WAV})
    done = imported(project, "s")
    assert done.code == 2
    assert "has words that corpus.words in params.yaml does not name: marvin (1), 예 (2); expected yes, no," in done.err
    assert not (project.folder / "out.npz").exists()
    assert "(unknown 3, yes 1)" in imported(project, "s", "--other", "unknown").out
    assert "(marvin 1, yes 1, 예 2)" in imported(project, "s", "--other", "own").out
    done = imported(project, "s", "--other", "leave-out")
    assert "(yes 1)" in done.out
    assert account(project)["예/a.wav"]["remarks"] == "is of another word, 예"
    project.set(**{"corpus.words": ["yes", "예", "marvin"]})
    assert "import: 4 clips (marvin 1, yes 1, 예 2)" in imported(project, "s").out


BAD = {
    "yes/nan.wav": encoded(np.array([0.1, np.nan] * 8000), subtype="FLOAT"),
    "yes/loud.wav": encoded(32767 * sound(), subtype="FLOAT"),
    "yes/empty.wav": b"",
    "yes/text.wav": b"no sound",
    "yes/b.m4a": b"x",
}


def test_all_that_cannot_be_used_is_listed_and_can_be_left_out(project: Project) -> None:
    write(project.folder / "s", {"yes/a.wav": WAV, **BAD})
    before = everything(project.folder)
    done = imported(project, "s")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("error: 5 files of s cannot be used: ")
    assert all(name in done.err for name in BAD)
    assert everything(project.folder) == before
    done = imported(project, "s", "--skip-bad")
    assert done.code == 0, done.err
    assert "files: 6 found, 1 taken, 5 left out" in done.out
    assert [row["outcome"] for name, row in account(project).items() if name in BAD] == ["unusable"] * 5


def test_what_was_done_to_a_recording_is_said(project: Project) -> None:
    left = sound()
    long = np.concatenate([np.zeros(32000), sound()])
    write(
        project.folder / "s",
        {
            "yes/stereo.wav": encoded(np.stack([left, -left], axis=1)),
            "yes/long.wav": encoded(long),
            "yes/short.wav": encoded(sound(0.25)),
            "yes/cut.wav": WAV[:10_000],
            "yes/square.wav": encoded(np.sign(sound())),
            "yes/silent.wav": encoded(np.zeros(16000)),
        },
    )
    done = imported(project, "s")
    assert done.code == 0, done.err
    for part in ("6 resampled", "1 cut", "1 one channel of several taken", "1 shorter than their headers say",
                 "1 scaled down", "1 silent", "2 padded by 0.689 to 0.750 s"):  # fmt: skip
        assert part in done.out, part
    rows = account(project)
    assert "taken, the channels cancel each other" in rows["yes/stereo.wav"]["remarks"]
    assert "cut from 3.000 s at 2.0" in rows["yes/long.wav"]["remarks"]
    waves = arrays(project)["wav_vals"]
    assert np.abs(waves).max() <= 1
    assert (np.abs(waves).max(axis=1) > 0.05).sum() == 5
    assert "cut from 3.000 s at 0.000" in str(imported(project, "s", "--cut", "start") and account(project))
    assert "import: 8 clips" in imported(project, "s", "--cut", "windows").out


def test_a_rule_for_speakers_that_finds_none_is_refused(project: Project) -> None:
    names = [f"{word}/anna_{take}.wav" for word in ("yes", "no") for take in "01"]
    write(project.folder / "s", dict.fromkeys(names, encoded(sound())))
    for rule in ("([A-Z]+)_", "folder"):
        done = project.stage_here("import_recordings", "s", "out.npz", "--speaker", rule)
        assert done.code == 2
        expected = f"--speaker {rule!r} names the speaker of none of the 4 recordings in s, such as no/anna_0.wav"
        assert expected in done.err
    assert project.leftovers() == []
    assert not (project.folder / "out.npz").exists()


def test_a_table_names_word_speaker_and_set(project: Project) -> None:
    write(project.folder / "s", {f"clips/{number}.wav": encoded(sound(seed=number)) for number in range(5)})
    (project.folder / "t.tsv").write_text(
        "client_id\tpath\tsentence\tsplit\n"
        + "".join(f"s{n}\t{n}.wav\tYes\t{published}\n" for n, published in enumerate(("train", "dev", "test")))
        + "s3\t3.wav\tno\ttrain\n"
    )
    done = imported(project, "s", "--table", "t.tsv")
    assert done.code == 0, done.err
    assert "left out: is not in the table (1)" in done.out
    made = arrays(project)
    assert made["label_vals"][:, 0].tolist() == ["no", "yes", "yes", "yes"]
    assert made["group_vals"][:, 0].tolist() == ["s3", "s0", "s1", "s2"]
    assert made["set_vals"][:, 0].tolist() == ["train", "train", "validation", "test"]


def test_noise_becomes_silence_where_silence_is_a_word(project: Project) -> None:
    write(project.folder / "s", {"yes/a.wav": WAV, "_background_noise_/pink.wav": encoded(sound(12))})
    assert "import: 23 clips (silence 22, yes 1)" in imported(project, "s").out
    groups = arrays(project)["group_vals"][:, 0].tolist()
    assert sorted(set(groups)) == ["", "_background_noise_/pink.wav#0", "_background_noise_/pink.wav#1"]
    names = arrays(project)["recording_vals"][:, 0].tolist()
    starts = [*np.arange(0, 9.5, 0.5), *np.arange(10, 11.5, 0.5)]
    assert names == [*(f"_background_noise_/pink.wav at {start:g} s" for start in starts), "yes/a.wav"]
    project.set(**{"corpus.words": ["yes", "no"]})
    assert "left out: is silence, which is not among the words (1)" in imported(project, "s").out


def test_the_published_lists_decide_the_sets(project: Project) -> None:
    names = [
        f"{word}/{number:02x}_nohash_{take}.wav" for word in ("yes", "no") for number in range(10) for take in "01"
    ]
    write(project.folder / "s/v2", {name: encoded(sound(seed=seed)) for seed, name in enumerate(names)})
    test = [name for name in names if name.split("/")[1] < "02"]
    validation = [name for name in names if "02" < name.split("/")[1] < "05"]
    (project.folder / "s/v2/testing_list.txt").write_text("\n".join(test))
    (project.folder / "s/v2/validation_list.txt").write_text("\n".join(validation))
    assert imported(project, "s").code == 0
    sets = {path.removeprefix("v2/"): row["set"] for path, row in account(project).items() if row["clips"] == "1"}
    assert {name for name, chosen in sets.items() if chosen == "test"} == set(test)
    assert {name for name, chosen in sets.items() if chosen == "validation"} == set(validation)
    project.set(**{"data.npz": "out.npz"})
    done = project.stage_here("split")
    assert done.code == 0, done.err
    summary = json.loads((project.folder / "metrics/split.json").read_text())
    assert summary["sets"]["test"]["clips"] == len(test)
    assert summary["published"] == {"split": "check", "speakers_in_several_sets": 0, "copies_in_several_sets": 0}
    # One recording of a test speaker is moved to training.
    (project.folder / "s/v2/testing_list.txt").write_text("\n".join(test[1:]))
    assert imported(project, "s").code == 0
    done = project.stage_here("split")
    assert done.code == 2
    assert "puts 1 speakers and 0 clips with copies into more than one set" in done.err
    project.set(**{"split.published": "trust"})
    assert project.stage_here("split").code == 0
    summary = json.loads((project.folder / "metrics/split.json").read_text())
    assert summary["published"]["speakers_in_several_sets"] == 1
    project.set(**{"split.published": "ignore"})
    assert project.stage_here("split").code == 0
    assert "published" not in json.loads((project.folder / "metrics/split.json").read_text())


def hostile(path: Path) -> None:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in (
            ("yes/a.wav", WAV), ("/etc/yes/b.wav", WAV), ("../../yes/c.wav", WAV), ("yes/new\nline.wav", WAV),
            ("yes/tab\t.wav", WAV), ("yes/<script>.wav", WAV),
        ):  # fmt: skip
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for name, kind, target in (
            ("yes/link.wav", tarfile.SYMTYPE, "/etc/passwd"), ("yes/hard.wav", tarfile.LNKTYPE, "yes/a.wav"),
            ("yes/lost.wav", tarfile.LNKTYPE, "/etc/passwd"), ("yes/device.wav", tarfile.CHRTYPE, ""),
            ("yes/pipe.wav", tarfile.FIFOTYPE, ""),
        ):  # fmt: skip
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, target
            archive.addfile(info)
        info = tarfile.TarInfo("yes/bomb.wav")
        info.size = 600 << 20
        with open("/dev/zero", "rb") as zeros:
            archive.addfile(info, zeros)
        for number in range(2000):
            archive.addfile(tarfile.TarInfo(f"yes/{number}.wav"))


def test_a_hostile_archive(project: Project) -> None:
    hostile(project.folder / "s.tar.gz")
    before = everything(project.folder)
    done = imported(project, "s.tar.gz")
    assert done.code == 2
    assert done.err.startswith("error: 2,001 files of s.tar.gz cannot be used: ")
    assert len(done.err.splitlines()) == 1
    assert everything(project.folder) == before
    done = imported(project, "s.tar.gz", "--skip-bad")
    assert done.code == 0, done.err
    assert "files: 2012 found, 5 taken, 2007 left out" in done.out
    rows = account(project)
    assert len(rows) == 2012
    assert {name for name, row in rows.items() if row["clips"] == "1"} == {
        "yes/a.wav", "yes/new\\nline.wav", "yes/tab\\t.wav", "yes/<script>.wav", "yes/hard.wav",
    }  # fmt: skip
    made = set(everything(project.folder)) - set(before)
    assert {name for name in made if not name.startswith(".cache")} == {"out.npz", "out.tsv"}


def test_a_folder_with_links_and_devices(project: Project) -> None:
    write(project.folder / "s", {"yes/a.wav": WAV})
    write(project.folder / "elsewhere", {"b.wav": WAV})
    (project.folder / "s/no").symlink_to(project.folder / "elsewhere")
    (project.folder / "s/yes/loop").symlink_to(project.folder / "s")
    (project.folder / "s/yes/nowhere.wav").symlink_to("none")
    os.mkfifo(project.folder / "s/yes/pipe.wav")
    done = imported(project, "s")
    assert done.code == 0, done.err
    assert "import: 2 clips (no 1, yes 1)" in done.out
    assert account(project)["yes/nowhere.wav"]["remarks"] == "is a link that leads nowhere"
    assert account(project)["yes/pipe.wav"]["remarks"] == "is not a regular file"


def test_names_of_a_korean_windows_in_a_zip(project: Project) -> None:
    """In its code page, without the flag of UTF-8. zipfile writes no such names, so they are put in afterwards."""
    project.set(**{"corpus.words": ["예", "아니오"]})
    zipped(project.folder / "s.zip", {"QQ/1.wav": WAV, "RRRRRR/1.wav": WAV})
    content = (project.folder / "s.zip").read_bytes()
    for placeholder, word in ((b"QQ/", "예/"), (b"RRRRRR/", "아니오/")):
        content = content.replace(placeholder, word.encode("cp949"))
    (project.folder / "s.zip").write_bytes(content)
    done = imported(project, "s.zip")
    assert done.code == 0, done.err
    assert set(account(project)) == {"예/1.wav", "아니오/1.wav"}


def test_processes_give_the_same_bytes(project: Project) -> None:
    write(project.folder / "s", {f"yes/{n}.wav": encoded(sound(seed=n)) for n in range(150)} | {"no/1.wav": WAV})
    assert imported(project, "s").code == 0
    one = (project.folder / "out.npz").read_bytes()
    assert imported(project, "s", "--workers", "3").code == 0
    assert (project.folder / "out.npz").read_bytes() == one


def test_another_corpus(project: Project) -> None:
    project.set(**{"corpus.words": ["yes", "no"], "corpus.sample_rate_hz": 16000, "corpus.clip_seconds": 1.5})
    write(project.folder / "s", {"yes/a.wav": WAV, "no/b.wav": WAV})
    done = imported(project, "s")
    assert "taken: 2 padded by 0.500 to 0.500 s" in done.out
    assert arrays(project)["wav_vals"].shape == (2, 24000)
    project.set(**{"corpus.sample_rate_hz": 8000, "data.npz": "out.npz"})
    done = project.stage_here("split")
    assert done.code == 2
    assert "wav_vals in out.npz has shape (2, 24000); expected (clips, 12000)" in done.err
    assert "set corpus.sample_rate_hz and corpus.clip_seconds in params.yaml to what the clips are" in done.err
