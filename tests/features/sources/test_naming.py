import unicodedata
from pathlib import Path

import pytest

from features.corpus import Corpus
from features.errors import InputError
from features.sources.naming import Name, Table, name_of, parse_speaker, read_lists, root_of, spelled

CORPUS = Corpus()
KOREAN = Corpus(words=("예", "아니오"))

# path                                        | rule                | word, speaker, set
PATHS = [
    ("yes/0a7c_nohash_1.wav",                   "nohash",             ("yes", "0a7c", "")),
    ("_unknown_/bed_0a7c_nohash_0.wav.wav",     "nohash",             ("unknown", "0a7c", "")),
    ("yes/anna_0.wav",                          "nohash",             ("yes", "", "")),
    ("yes/2023.01.05_anna.wav",                 "nohash",             ("yes", "", "")),
    ("YES /a.wav",                              "nohash",             ("yes", "", "")),
    ("stop/anna/1.wav",                         "folder",             ("stop", "anna", "")),
    ("stop/1.wav",                              "folder",             ("stop", "", "")),
    ("stop/team/anna/1.wav",                    "folder",             ("stop", "team/anna", "")),
    ("yes/anna_0.wav",                          r"([^/]+)_\d+[.]wav", ("yes", "anna", "")),
    ("yes/3-anna.wav",                          r"-(?P<speaker>\w+)", ("yes", "anna", "")),
    ("yes/3.wav",                               r"-(?P<speaker>\w+)", ("yes", "", "")),
    ("train/yes/a.wav",                         "nohash",             ("yes", "", "train")),
    ("dev/yes/a.wav",                           "nohash",             ("yes", "", "validation")),
    ("marvin/a.wav",                            "nohash",             ("marvin", "", "")),
    ("_background_noise_/pink.wav",             "nohash",             ("silence", "", "")),
]  # fmt: skip


@pytest.mark.parametrize(("path", "rule", "expected"), PATHS)
def test_name_of(path: str, rule: str, expected: tuple[str, str, str]) -> None:
    name = name_of(path, [], CORPUS, rule)
    assert (name.word, name.speaker, name.set, name.why) == (*expected, "")


def test_name_of_a_file_in_no_folder() -> None:
    assert name_of("a.wav", [], CORPUS, "nohash").why == "lies in no word's folder"


def test_words_as_macos_spells_them() -> None:
    assert spelled(unicodedata.normalize("NFD", "예"), KOREAN) == "예"
    assert name_of(unicodedata.normalize("NFD", "아니오/1.wav"), [], KOREAN, "nohash").word == "아니오"


# paths                                             | root
ROOTS = [
    (["yes/a.wav", "no/b.wav"],                       []),
    (["yes/a.wav"],                                   []),
    (["v2/yes/a.wav", "v2/marvin/b.wav"],             ["v2"]),
    (["a/b/yes/a.wav", "a/b/no/x/c.wav"],             ["a", "b"]),
    (["./yes/a.wav", "./no/b.wav"],                   []),
    (["marvin/a.wav"],                                []),
    (["_background_noise_/a.wav"],                    []),
    (["v2/_background_noise_/a.wav", "v2/x/b.wav"],   ["v2"]),
    ([],                                              []),
]  # fmt: skip


@pytest.mark.parametrize(("paths", "root"), ROOTS)
def test_root_of(paths: list[str], root: list[str]) -> None:
    assert root_of(paths, CORPUS) == root


def test_parse_speaker() -> None:
    assert parse_speaker("folder") == "folder"
    for wrong in ("[", "anna"):
        with pytest.raises(InputError, match="--speaker"):
            parse_speaker(wrong)


def test_read_lists() -> None:
    lists = {"v2/testing_list.txt": b"yes/a.wav\r\n\n", "v2/validation_list.txt": b"no/b.wav\n"}
    assert read_lists(lists) == {"yes/a.wav": "test", "no/b.wav": "validation"}


TABLES = {
    "ours": "path,word,speaker,set\nclips/1.wav,yes,anna,train\n",
    "Common Voice": "client_id\tpath\tsentence\tup_votes\nanna\tclips/1.wav\tYes\t2\n",
    "MSWC": "SET,LINK,WORD,VALID,SPEAKER,GENDER\nTRAIN,clips/1.wav,yes,True,anna,NA\n",
    "audiofolder": "\ufefffile_name;label;speaker_id\nclips/1.wav;yes;anna\n",
}


@pytest.mark.parametrize("kind", TABLES)
def test_tables_of_others(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(TABLES[kind])
    table = Table.read(path, CORPUS)
    published = "train" if kind in ("ours", "MSWC") else ""
    assert table.find("corpus/clips/1.wav") == Name("yes", "anna", published)
    assert table.find("1.wav") is None
    assert table.find("clips/21.wav") is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("file,x\na,b\n", "has the columns file, x; expected path and word"),
        ("", r"has the columns \(none\)"),
        ("path,word,set\na,yes,other\n", "line 2 of .* names the set 'other'"),
        ("path,word\na,yes\n./a,no\n", r"line 3 of .* names ./a a second time"),
    ],
)
def test_bad_tables(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=said):
        Table.read(path, CORPUS)
