from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.errors import InputError
from features.split.marks import MARKS, Mark, read_marks, remove_mark, save_mark

ONE, OTHER, THIRD = ("01" * 16, "ab" * 16, "ff" * 16)
HEADER = "digest\tword\trow\tmark\n"
HOSTILE = ["a\tb", 'say "yes"', '"', "two\nlines", "two\r\nlines", "a\rb", "", " ", "#x", "\ufeff예", "\x00", "'", "\\"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "marks.tsv"


@settings(deadline=None)
@given(words=st.lists(st.text() | st.sampled_from(HOSTILE), unique=True, max_size=5), mark=st.sampled_from(MARKS))
def test_save_and_read(tmp_path_factory: pytest.TempPathFactory, words: list[str], mark: str) -> None:
    path = tmp_path_factory.mktemp("marks") / "marks.tsv"
    marks = [Mark(ONE, word, row, mark) for row, word in enumerate(words)]
    for each in marks:
        save_mark(path, each)
    assert read_marks(path) == {(ONE, each.word): each for each in marks}


@pytest.mark.parametrize("word", HOSTILE)
def test_save_hostile_words(path: Path, word: str) -> None:
    save_mark(path, Mark(ONE, word, 3, "keep"))
    save_mark(path, Mark(OTHER, word, 4, "bad audio"))
    assert list(read_marks(path).values()) == [Mark(ONE, word, 3, "keep"), Mark(OTHER, word, 4, "bad audio")]


def test_save_writes_a_sorted_plain_table_and_nothing_else(path: Path) -> None:
    for mark in (
        Mark(ONE, "yes", 10, "keep"),
        Mark(THIRD, "no", 9, "bad audio"),
        Mark(THIRD, "yes", 9, "wrong label"),
        Mark(OTHER, "yes", 9, "keep"),
    ):
        save_mark(path, mark)
    assert path.read_bytes().decode() == (
        HEADER
        + f"{THIRD}\tno\t9\tbad audio\n"
        + f"{OTHER}\tyes\t9\tkeep\n"
        + f"{THIRD}\tyes\t9\twrong label\n"
        + f"{ONE}\tyes\t10\tkeep\n"
    )
    assert list(path.parent.iterdir()) == [path]


def test_save_replaces_the_mark_of_the_same_clip_and_word(path: Path) -> None:
    save_mark(path, Mark(ONE, "yes", 3, "keep"))
    save_mark(path, Mark(ONE, "no", 3, "keep"))
    save_mark(path, Mark(ONE, "yes", 8, "bad audio"))
    assert read_marks(path) == {
        (ONE, "no"): Mark(ONE, "no", 3, "keep"),
        (ONE, "yes"): Mark(ONE, "yes", 8, "bad audio"),
    }


def test_save_at_once_loses_none(path: Path) -> None:
    marks = [Mark(f"{number:032x}", "yes", number, "keep") for number in range(24)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(partial(save_mark, path), marks))
    assert list(read_marks(path).values()) == marks


def test_remove(path: Path) -> None:
    save_mark(path, Mark(ONE, "yes", 3, "keep"))
    save_mark(path, Mark(ONE, "no", 3, "keep"))
    remove_mark(path, ONE, "yes")
    remove_mark(path, ONE, "yes")
    assert list(read_marks(path)) == [(ONE, "no")]
    remove_mark(path, ONE, "no")
    assert path.read_text() == HEADER


def test_read_a_missing_file(path: Path) -> None:
    assert read_marks(path) == {}
    assert not path.exists()


def test_read_what_an_editor_made_of_it(path: Path) -> None:
    lines = (HEADER.strip(), f'"{ONE}"\tyes\t3\tkeep', "")
    path.write_bytes(b"\xef\xbb\xbf" + "".join(f"{line}\r\n" for line in lines).encode())
    assert read_marks(path) == {(ONE, "yes"): Mark(ONE, "yes", 3, "keep")}


GOOD = f"{ONE}\tyes\t3\tkeep\n"
# file after the header                     | the sentence after its name
BAD = [
    (
        f"{GOOD}{OTHER}\tno\t4\tgood\n",
        "line 3: the mark is 'good'; expected one of keep, wrong label, bad audio, so corr",
    ),
    (f"{OTHER}\tno\t4\tKeep\n", "line 2: the mark is 'Keep'"),
    (f"{OTHER[:-1]}\tno\t4\tkeep\n", "line 2: the digest is 'ababab.*aba'; expected 32 hexadecimal digits, so"),
    (f"{OTHER.upper()}\tno\t4\tkeep\n", "line 2: the digest is 'ABAB.*'; expected 32"),
    (
        f"{OTHER}\n\tno\t4\tkeep\n",
        "line 2: it has 1 columns; expected digest, word, row and mark with tabs between them",
    ),
    (f"\n{OTHER} no 4 keep\n", "line 3: it has 1 columns"),
    (f"{OTHER}\tno\t4\tkeep\t\n", "line 2: it has 5 columns"),
    (f"{OTHER}\tno\t-4\tkeep\n", "line 2: the row is '-4'; expected a whole number"),
    (f"{OTHER}\tno\t٤\tkeep\n", "line 2: the row is '٤'"),
    (f'{OTHER}\t"two\nlines"\t4\tkeep\n{OTHER}\tno\t4\tx\n', "line 4: the mark is 'x'"),
    (f'{GOOD}{OTHER}\t"no\t4\tkeep\n{THIRD}\tno\t4\tkeep\n', "line 3: unexpected end of data"),
    (f"{GOOD}<<<<<<< HEAD\n{OTHER}\tno\t4\tkeep\n", "line 3: it has 1 columns"),
    (
        f"{GOOD}{ONE}\tyes\t5\tbad audio\n",
        "line 3: an earlier line marks the same clip; expected one mark for each, so",
    ),
    (
        f"{GOOD}\udcff\n",
        "line 3: it is not UTF-8 text; expected a file saved as UTF-8, so correct the line or undo the ed",
    ),
]


@pytest.mark.parametrize(("lines", "sentence"), BAD)
def test_read_bad_lines(path: Path, lines: str, sentence: str) -> None:
    content = (HEADER + lines).encode(errors="surrogateescape")
    path.write_bytes(content)
    with pytest.raises(InputError, match=f"marks.tsv, {sentence}") as caught:
        read_marks(path)
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError):
        save_mark(path, Mark(ONE, "yes", 3, "keep"))
    assert path.read_bytes() == content, "nothing a person wrote is lost"


@pytest.mark.parametrize("content", ["", "\n"])
def test_an_empty_file_holds_no_marks(path: Path, content: str) -> None:
    path.write_text(content)
    assert read_marks(path) == {}


@pytest.mark.parametrize("header", ["digest\tword\tmark\n", "digest,word,row,mark\n", GOOD])
def test_read_another_header(path: Path, header: str) -> None:
    path.write_text(header)
    with pytest.raises(
        InputError, match=r"marks.tsv, line 1: the header is '.*'; expected digest, word, row and mark wi"
    ):
        read_marks(path)


@pytest.mark.parametrize("mark", [(ONE[1:], "yes", 1, "keep"), (ONE, "yes", -1, "keep"), (ONE, "yes", 1, "loud")])
def test_mark_of_something_else(mark: tuple[str, str, int, str]) -> None:
    with pytest.raises(ValueError, match="expected"):
        Mark(*mark)
