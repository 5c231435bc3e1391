"""The command features browse as a process: its page in a real browser, its server to those who should not get in."""

import http.client
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from urllib.parse import urlsplit

import numpy as np
import pytest
from browser import open_page, wait_until
from conftest import Project, copy_product, make_arrays
from playwright.sync_api import Browser, Page, expect

from features.corpus import WORDS
from features.split.marks import Mark, read_marks, save_mark
from features.store.reader import FeatureStore, WaveformStore
from models.predictions import write_predictions

RECORDING = "<b>{}</b>.wav"
BROWSE = (sys.executable, "-m", "pipeline.commands.features", "browse")


@dataclass(frozen=True)
class Browsed:
    """A project whose features are being browsed."""

    project: Project
    process: "subprocess.Popen[str]"
    address: str

    def ask(self, path: str, *, method: str = "GET", body: str | None = None, **headers: str) -> tuple[int, bytes]:
        """Send a request as it is written, with no tidying of its path."""
        parts = urlsplit(self.address)
        with closing(http.client.HTTPConnection(parts.netloc)) as connection:
            connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
            answer = connection.getresponse()
            return answer.status, answer.read()

    @property
    def home(self) -> str:
        return urlsplit(self.address).path


@pytest.fixture(scope="module")
def browsed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browsed]:
    """Ten clips a word, every second of them loud; the network base is wrong on every third test clip."""
    project = copy_product(tmp_path_factory.mktemp("browsed"))
    arrays = make_arrays(10, speakers=20)
    arrays["wav_vals"][::2] *= 0.1
    arrays["recording_vals"] = np.array([RECORDING.format(row) for row in range(len(arrays["wav_vals"]))])
    project.save_npz(arrays)
    assert project.stage("split").code == 0
    for name in ("train", "test"):
        assert project.stage("featurize", name).code == 0
    store = FeatureStore.open(project.folder / "data/features/test.zarr")
    heard = np.where(np.arange(store.clips) % 3 == 0, (store.labels + 1) % len(WORDS), store.labels)
    probabilities = np.full((store.clips, len(WORDS)), 0.01)
    probabilities[np.arange(store.clips), heard] = 0.5 + np.arange(store.clips) / 100
    folder = project.folder / "artifacts/base"
    folder.mkdir(parents=True)
    write_predictions(
        folder / "predictions.csv", store.source_rows, store.recordings, store.labels, probabilities, WORDS
    )
    process = project.start(*BROWSE, "data/features")
    assert process.stdout
    line = process.stdout.readline()
    found = re.fullmatch(
        r"browse: (\d+) clips at (http://127\.0\.0\.1:\d+/[\w-]{20,}/) \(Ctrl-C ends it; marks go to .*marks\.tsv\)\n",
        line,
    )
    assert found, line + process.communicate()[1]
    yield Browsed(project, process, found[2])
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (0, "")
    assert re.fullmatch(r"browse: .* marked.*\n", out)


@pytest.fixture
def page(browser: Browser, browsed: Browsed) -> Iterator[Page]:
    with open_page(browser, browsed.address, home=browsed.address) as opened:
        opened.wait_for_selector(".card")
        yield opened


def listed(browsed: Browsed, query: str) -> list[dict[str, object]]:
    status, answer = browsed.ask(f"{browsed.home}clips?{query}")
    assert status == 200, answer
    return list(json.loads(answer)["clips"])


def test_clips_are_seen_and_heard(page: Page) -> None:
    wait_until(page, "[...document.querySelectorAll('audio')].every((audio) => audio.readyState >= 1)")
    assert set(page.evaluate("[...document.querySelectorAll('audio')].map((audio) => audio.duration)")) == {1}
    wait_until(page, "[...document.querySelectorAll('.card img')].every((image) => image.naturalWidth > 1)")
    assert page.locator(".card").count() == 24
    page.set_viewport_size({"width": 360, "height": 740})
    assert page.evaluate("document.documentElement.scrollWidth") == 360


def test_filters_choose_clips(page: Page, browsed: Browsed) -> None:
    page.select_option("select[name=set]", "test")
    page.select_option("select[name=network]", "base")
    page.check("input[name=wrong]")
    store = FeatureStore.open(browsed.project.folder / "data/features/test.zarr")
    wrong = range(0, store.clips, 3)
    expect(page.locator("#status")).to_have_text(f"{len(wrong)} clips")
    details = page.locator(".card .details").all_inner_texts()
    assert [int(text.split()[2].rstrip(",")) for text in details] == [*wrong][:24]
    names = page.locator(".card .recording").all_inner_texts()
    assert names == [RECORDING.format(store.source_rows[clip]) for clip in [*wrong][:24]]
    word = WORDS[store.labels[3]]
    page.select_option("select[name=word]", word)
    expect(page.locator(".card h4").first).to_have_text(re.compile(f"^{word} heard as "))


def test_a_clip_is_found_by_its_row_or_its_recording(page: Page, browsed: Browsed) -> None:
    row = int(str(listed(browsed, "set=test")[5]["row"]))
    page.fill("input[name=find]", f"<b>{row}</b>")
    page.keyboard.press("Enter")
    expect(page.locator(".card .recording")).to_have_text([RECORDING.format(row)])
    assert [clip["row"] for clip in listed(browsed, f"find={row}") if clip["row"] == row] == [row]
    assert listed(browsed, "find=nowhere") == []


def test_orders_by_what_was_measured(browsed: Browsed) -> None:
    loudest = [clip["loudness_db"] for clip in listed(browsed, "order=loudest")]
    quietest = [clip["loudness_db"] for clip in listed(browsed, "order=quietest")]
    assert loudest == sorted(loudest, reverse=True)  # type: ignore[type-var]
    assert quietest == sorted(quietest)  # type: ignore[type-var]
    assert min(loudest) > max(quietest)  # type: ignore[type-var]
    unsure = listed(browsed, "order=least+confident&network=base&set=test")
    assert [clip["number"] for clip in unsure] == [*range(len(unsure))]


def test_a_mark_is_saved_and_taken_back(page: Page, browsed: Browsed) -> None:
    file = browsed.project.folder / "marks.tsv"
    card = page.locator(".card").first
    clip = listed(browsed, "")[0]
    card.get_by_role("button", name="wrong label").click()
    expect(card.get_by_role("status")).to_have_text("Saved in marks.tsv. Clips marked so far: 1.")
    (mark,) = read_marks(file).values()
    store = WaveformStore.open(browsed.project.folder / f"data/split/{clip['set']}.zarr")
    assert mark.digest == store.digests[0].tobytes().hex()
    assert (mark.row, mark.word, mark.mark) == (store.source_rows[0], WORDS[store.labels[0]], "wrong label")
    card.get_by_role("button", name="bad audio").click()
    expect(card.get_by_role("button", name="bad audio")).to_have_attribute("aria-pressed", "true")
    expect(card.get_by_role("button", name="wrong label")).to_have_attribute("aria-pressed", "false")
    assert [mark.mark for mark in read_marks(file).values()] == ["bad audio"]
    assert len(listed(browsed, "mark=bad+audio")) == 1
    card.get_by_role("button", name="bad audio").click()
    expect(card.get_by_role("status")).to_have_text("Saved in marks.tsv. Clips marked so far: 0.")
    assert read_marks(file) == {}


def test_the_mark_of_a_clip_that_was_left_out_is_taken_back(page: Page, browsed: Browsed) -> None:
    file = browsed.project.folder / "marks.tsv"
    save_mark(file, Mark("00" * 16, "yes", 7, "bad audio"))
    page.reload()
    page.get_by_text("Marked clips that are in no set: 1").click()
    page.get_by_role("button", name="take the mark back").click()
    expect(page.locator("#left-out")).to_contain_text("The next dvc repro uses the clip again.")
    assert read_marks(file) == {}


def test_a_mark_that_cannot_be_saved_is_told_beside_the_clip(page: Page, browsed: Browsed) -> None:
    file = browsed.project.folder / "marks.tsv"
    before = file.read_bytes()
    file.unlink()
    file.mkdir()
    try:
        page.locator(".card").nth(20).get_by_role("button", name="keep").click()
        told = page.locator(".card").nth(20).get_by_role("status")
        expect(told).to_contain_text("Not saved: ")
        expect(told).to_contain_text("marks.tsv")
        page.problems.clear()  # the browser logs the answer 500
    finally:
        file.rmdir()
        file.write_bytes(before)


def test_the_keyboard_reaches_players_and_marks(page: Page) -> None:
    kinds = set()
    for _ in range(40):
        page.keyboard.press("Tab")
        kinds.add(page.evaluate("document.activeElement.tagName + ' ' + document.activeElement.textContent.trim()"))
    assert {"AUDIO ", "BUTTON wrong label"} <= kinds


MARK = json.dumps({"set": "train", "number": 0, "mark": "keep"})
JSON = {"Content_Type": "application/json"}


# how to ask                                                   | what comes back
def refused(browsed: Browsed) -> list[tuple[int, int, bytes]]:
    home, own = browsed.home, {"Origin": "http://" + urlsplit(browsed.address).netloc}
    ask = browsed.ask
    return [
        (403, *ask("/")),
        (403, *ask("/clips")),
        (403, *ask("/" + "x" * 22 + "/")),
        (403, *ask(home[:-2] + "/")),
        (403, *ask(home, Host="evil.example")),
        (403, *ask(f"{home}clips", Host=f"evil.example:{urlsplit(browsed.address).port}")),
        (404, *ask(f"{home}../../../etc/passwd")),
        (404, *ask(f"{home}sound/..%2f..%2fetc/0")),
        (404, *ask(f"{home}sound/train/999999")),
        (404, *ask(f"{home}sound/train/-1")),
        (404, *ask(f"{home}sound/elsewhere/0")),
        (404, *ask(f"{home}marks.tsv")),
        (400, *ask(f"{home}clips?word=nothing")),
        (400, *ask(f"{home}clips?page=-1")),
        (400, *ask(f"{home}clips?page=many")),
        (400, *ask(f"{home}clips?unknown=1")),
        (400, *ask(f"{home}clips?wrong=true")),
        (400, *ask(f"{home}clips?order=least+confident")),
        (400, *ask(f"{home}unmark", method="POST", body=MARK, **JSON, **own)),
        (403, *ask(f"{home}mark", method="POST", body=MARK, **JSON)),
        (403, *ask(f"{home}mark", method="POST", body=MARK, Origin="http://evil.example", **JSON)),
        (403, *ask(f"{home}mark", method="POST", body=MARK, Content_Type="text/plain", **own)),
        (403, *ask(f"{home}clips", method="POST", body=MARK, **JSON, **own)),
        (400, *ask(f"{home}mark", method="POST", body="{}", **JSON, **own)),
        (400, *ask(f"{home}mark", method="POST", body=MARK.replace("keep", "delete"), **JSON, **own)),
        (404, *ask(f"{home}mark", method="POST", body=MARK.replace("train", "../train"), **JSON, **own)),
        (501, *ask(home, method="DELETE")),
    ]


def test_what_is_not_the_pages_own_gets_nothing(browsed: Browsed) -> None:
    before = (browsed.project.folder / "marks.tsv").read_bytes()
    answers = refused(browsed)
    assert [found for _, found, _ in answers] == [expected for expected, _, _ in answers]
    assert all(len(content) < 500 and b"root:" not in content for _, _, content in answers)
    assert (browsed.project.folder / "marks.tsv").read_bytes() == before


def test_only_this_machine_is_served(browsed: Browsed) -> None:
    port = urlsplit(browsed.address).port
    table = browsed.project.run("cat", "/proc/net/tcp").out
    listening = [line.split()[1] for line in table.splitlines()[1:] if line.split()[3] == "0A"]
    assert f"0100007F:{port:04X}" in listening
    assert f"00000000:{port:04X}" not in listening


def test_waveforms_without_features_are_heard(project: Project, arrays: dict[str, np.ndarray]) -> None:
    project.save_npz(arrays)
    assert project.stage("split").code == 0
    process = project.start(*BROWSE, "data/split/test.zarr")
    assert process.stdout
    address = process.stdout.readline().split()[4]
    opened = Browsed(project, process, address)
    assert listed(opened, "")[0]["picture"] is False
    assert opened.ask(f"{opened.home}sound/test/0")[0] == 200
    assert opened.ask(f"{opened.home}picture/test/0") == (404, b"the features of test are not there")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    assert process.returncode == 0


def test_damage_is_told_and_the_rest_is_measured(project: Project, arrays: dict[str, np.ndarray]) -> None:
    """Also beside what a killed run left unfinished."""
    project.save_npz(arrays)
    assert project.stage("split").code == 0
    (project.folder / "data/split/.partial-test.zarr").mkdir()
    shard = project.folder / "data/split/train.zarr/waveform/c.0.0"
    shard.chmod(0o644)
    with shard.open("r+b") as file:
        file.write(b"damaged")
    process = project.start(*BROWSE, "data/split")
    assert process.stdout
    opened = Browsed(project, process, process.stdout.readline().split()[4])
    for _ in range(100):
        found = json.loads(opened.ask(f"{opened.home}clips?")[1])
        if found["measured"] == found["total"]:
            break
        time.sleep(0.1)
    assert found["measured"] == found["total"] == 120
    assert "shard 0 of data/split/train.zarr" in found["damage"]
    loud = json.loads(opened.ask(f"{opened.home}clips?set=test&order=loudest")[1])["clips"]
    assert all("loudness_db" in clip for clip in loud)
    status, answer = opened.ask(f"{opened.home}sound/train/0")
    assert (status, b"is not what was written" in answer) == (500, True)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (0, "")


def test_a_port_in_use_and_a_store_that_is_not_there_are_told(browsed: Browsed) -> None:
    port = str(urlsplit(browsed.address).port)
    done = browsed.project.run(*BROWSE, "data/features", "--port", port)
    assert done.code == 2
    assert done.err == f"error: port {port} cannot be used (Address already in use); leave out --port for a free one\n"
    done = browsed.project.run(*BROWSE, "data/nothing")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert done.err.startswith("error: data/nothing does not exist; expected a store such as ")
