"""The stage report as a process, and its page in a real browser: what a person sees, hears and can reach."""

import base64
import io
import json
import re
from collections.abc import Iterator

import numpy as np
import pytest
import soundfile
from browser import open_page, wait_until
from conftest import Finished, Project, copy_product
from playwright.sync_api import Browser, Page

from features.store.reader import FeatureStore, WaveformStore
from models.history import Epoch, write_history
from models.predictions import read_predictions, write_predictions

WORDS = ["<script>document.title = 'stolen'</script>", "예", "\"double\" & 'single' quotes", "very" * 75, "שלום"]
NETWORKS = ("base", "skip")
PER_WORD = 40
CLIP_SECONDS, RATE_HZ = 0.5, 8000


def arrays() -> dict[str, np.ndarray]:
    """Tones in noise, a speaker for every four clips; the last clip is silent, the one before clipped."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(len(WORDS)), PER_WORD)
    time_s = np.arange(int(CLIP_SECONDS * RATE_HZ)) / RATE_HZ
    waves = 0.3 * np.sin(2 * np.pi * (300 + 500 * labels[:, None]) * time_s)
    waves += rng.uniform(-0.1, 0.1, waves.shape)
    waves[-1] = 0
    waves[-2] = np.sign(waves[-2])
    speakers = [f"speaker {number}" for number in rng.permutation(len(labels)) // 4]
    return {
        "wav_vals": waves.astype(np.float32),
        "label_vals": np.array(WORDS)[labels],
        "group_vals": np.array(speakers),
        "recording_vals": np.array([f"{row} {WORDS[label]}.wav" for row, label in enumerate(labels)]),
    }


def write_results(project: Project, network: str, seed: int) -> None:
    """What training and evaluation leave, made up: two of three test clips are right."""
    rng = np.random.default_rng(seed)
    store = FeatureStore.open(project.folder / "data/features/test.zarr")
    sure = rng.uniform(0.5, 0.9, store.clips)
    others = rng.integers(1, len(WORDS), store.clips)
    heard = np.where(rng.random(store.clips) < 2 / 3, store.labels, (store.labels + others) % len(WORDS))
    probabilities = np.full((store.clips, len(WORDS)), (1 - sure[:, None]) / (len(WORDS) - 1))
    probabilities[np.arange(store.clips), heard] = sure
    folder = project.folder / "artifacts" / network
    folder.mkdir(parents=True, exist_ok=True)
    write_predictions(
        folder / "predictions.csv", store.source_rows, store.recordings, store.labels, probabilities, WORDS
    )
    write_history(folder / "history.csv", [Epoch(n, 0.1, 2 / n, 0.5, 2.5 / n, 0.4 + 0.1 * n) for n in (1, 2, 3)])
    cost = {"parameters": 1000 * (seed + 1), "multiply_adds": 10 ** (7 + seed), "real_time_factor": 0.01}
    right = float((heard == store.labels).mean())
    metrics = {
        "accuracy": right,
        "accuracy_ci95": [max(0.0, right - 0.1), min(1.0, right + 0.1)],
        "loss": 1.0,
        "test_clips": store.clips,
        "speakers_known": True,
        "cost": [{**cost, "file_bytes": 10**6}],
        "words": [],
    }
    (project.folder / "metrics").mkdir(exist_ok=True)
    (project.folder / f"metrics/{network}.json").write_text(json.dumps(metrics))


@pytest.fixture(scope="module")
def reported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, Finished]:
    """A project with hostile words, split and featurized by its stages, and a report of it."""
    project = copy_product(tmp_path_factory.mktemp("reported"))
    project.save_npz(arrays())
    project.set(**{"corpus.words": WORDS, "corpus.clip_seconds": CLIP_SECONDS})
    assert project.stage("split").code == 0
    for name in ("train", "validation", "test"):
        assert project.stage("featurize", name).code == 0
    for seed, network in enumerate(NETWORKS):
        write_results(project, network, seed)
    return project, project.stage("report")


@pytest.fixture
def page(browser: Browser, reported: tuple[Project, Finished]) -> Iterator[Page]:
    project, done = reported
    assert done.code == 0, done.err
    address = (project.folder / "reports/index.html").as_uri()
    with open_page(browser, address, home=address) as opened:
        yield opened


def data_of(project: Project) -> dict[str, object]:
    """What the page's script reads."""
    text = (project.folder / "reports/index.html").read_text("utf-8")
    found = re.search(r'id="page-data">(.*?)</script>', text)
    assert found
    return dict(json.loads(found[1]))


def test_one_line_tells_what_it_shows(reported: tuple[Project, Finished]) -> None:
    _, done = reported
    assert re.fullmatch(r"report: reports/index.html shows 2 networks and \d+ clips to hear, \d\.\d MiB\n", done.out), (
        done.out + done.err
    )


def test_words_are_text_and_nothing_else(page: Page) -> None:
    """No script among them runs, none is lost, none makes the page wide."""
    assert page.title() == "Spoken words: report"
    heads = page.locator(".matrix").first.locator("thead bdi").all_inner_texts()
    assert heads == WORDS
    page.set_viewport_size({"width": 360, "height": 740})
    assert page.evaluate("document.documentElement.scrollWidth") == 360


def test_every_player_has_its_clip(page: Page, reported: tuple[Project, Finished]) -> None:
    wait_until(page, "[...document.querySelectorAll('audio')].every((audio) => audio.readyState >= 1)")
    durations = page.evaluate("[...document.querySelectorAll('audio')].map((audio) => audio.duration)")
    assert len(durations) >= 12
    assert durations == [CLIP_SECONDS] * len(durations)


def test_a_sound_is_the_clip_it_is_said_to_be(reported: tuple[Project, Finished]) -> None:
    project, _ = reported
    clips = data_of(project)["clips"]
    assert isinstance(clips, list)
    for about in clips[:10]:
        store = WaveformStore.open(project.folder / f"data/split/{about['set']}.zarr")
        sound, rate_hz = soundfile.read(io.BytesIO(base64.b64decode(about["sound"])), dtype="float32")
        assert rate_hz == RATE_HZ
        wave = store.read(about["number"], about["number"] + 1)[0]
        np.testing.assert_allclose(sound, np.clip(wave, -1, 1), atol=2**-15)
        assert about["row"] == store.source_rows[about["number"]]
        assert WORDS[about["label"]] == WORDS[store.labels[about["number"]]]


@pytest.mark.parametrize("network", NETWORKS)
def test_a_cell_opens_exactly_its_clips(page: Page, reported: tuple[Project, Finished], network: str) -> None:
    project, _ = reported
    predictions = read_predictions(project.folder / f"artifacts/{network}/predictions.csv")
    page.get_by_role("radio", name=network, exact=True).check()
    block = page.locator(f'[data-network="{network}"]')
    cells = block.locator("button[data-cell]")
    assert cells.count() == len(set(zip(predictions.labels.tolist(), predictions.predicted.tolist(), strict=True)))
    for cell in cells.all():
        _, _, actual, predicted = str(cell.get_attribute("data-cell")).split("-")
        inside = (predictions.labels == int(actual)) & (predictions.predicted == int(predicted))
        cell.click()
        shown = block.locator(".cell-gallery .details").all_inner_texts()
        rows = [int(re.search(r"row (\d+)", text)[1]) for text in shown]  # type: ignore[index]
        assert sorted(rows) == sorted(predictions.source_rows[inside].tolist())
        known = dict(zip(predictions.source_rows.tolist(), predictions.recordings.tolist(), strict=True))
        names = block.locator(".cell-gallery .recording").all_text_contents()
        assert names == [known[row] for row in rows]
        assert cell.inner_text() == str(inside.sum())


def test_choosing_a_network_shows_its_mistakes(page: Page, reported: tuple[Project, Finished]) -> None:
    """Two steps: open the page, choose the network."""
    project, _ = reported
    page.get_by_role("radio", name="skip", exact=True).check()
    predictions = read_predictions(project.folder / "artifacts/skip/predictions.csv")
    wrong = predictions.predicted != predictions.labels
    worst = predictions.source_rows[wrong][np.argsort(-predictions.confidences[wrong], kind="stable")][:12]
    shown = page.locator('[data-gallery="mistakes-skip"] .details').all_inner_texts()
    assert [int(text.split("row ")[1].split(";")[0]) for text in shown] == worst.tolist()
    assert page.locator('[data-gallery="mistakes-skip"] audio').first.is_visible()
    assert page.locator('[data-gallery="mistakes-base"]').is_hidden()


def test_the_keyboard_alone_reaches_every_player(page: Page) -> None:
    visible = page.evaluate("[...document.querySelectorAll('audio')].filter((audio) => audio.offsetParent).length")
    reached = set()
    for _ in range(40 * visible):
        page.keyboard.press("Tab")
        tag, number = page.evaluate(
            "[document.activeElement.tagName, [...document.querySelectorAll('audio')].indexOf(document.activeElement)]"
        )
        if tag == "AUDIO":
            reached.add(number)
        if tag == "BODY":  # past the last element
            break
    assert len(reached) == visible


def test_silent_and_clipped_clips_are_found(reported: tuple[Project, Finished]) -> None:
    project, _ = reported
    galleries = data_of(project)["galleries"]
    clips = data_of(project)["clips"]
    assert isinstance(galleries, dict)
    assert isinstance(clips, list)
    last = len(WORDS) * PER_WORD - 1
    for name, row in (("silent", last), ("clipped", last - 1)):
        assert [clips[number]["row"] for number in galleries[name]["clips"]] == [row]


def test_results_of_another_test_set_are_refused(reported: tuple[Project, Finished]) -> None:
    project, _ = reported
    predictions = project.folder / "artifacts/skip/predictions.csv"
    before = predictions.read_text("utf-8")
    page = (project.folder / "reports/index.html").read_bytes()
    try:
        predictions.write_text("\n".join(before.splitlines()[:-1]) + "\n", "utf-8")
        done = project.stage("report")
    finally:
        predictions.write_text(before, "utf-8")
    assert done.code == 2
    assert done.err == (
        "error: artifacts/skip/predictions.csv tells of other clips than the test set has; "
        "run dvc repro --force evaluate@skip\n"
    )
    assert (project.folder / "reports/index.html").read_bytes() == page


# file of skip                     | how it is damaged
DAMAGES = [
    ("metrics/skip.json", "{}"),
    ("metrics/skip.json", "null"),
    ("metrics/skip.json", "not JSON"),
    ("artifacts/skip/history.csv", ""),
    ("artifacts/skip/history.csv", "epoch,loss\n"),
    ("artifacts/skip/history.csv", "epoch,loss\n1,much\n"),
    ("artifacts/skip/predictions.csv", ""),
    ("metrics/split.json", "{}"),
    ("metrics/split.json", "not JSON"),
]


@pytest.mark.parametrize(("file", "content"), DAMAGES)
def test_damaged_results_are_one_sentence(reported: tuple[Project, Finished], file: str, content: str) -> None:
    project, _ = reported
    path = project.folder / file
    before = path.read_bytes()
    try:
        path.write_text(content)
        done = project.stage("report")
    finally:
        path.write_bytes(before)
    assert (done.code, done.err.count("\n")) == (2, 1), done.err
    assert "cannot be read" in done.err
    assert "run dvc repro --force" in done.err


def test_labels_of_another_time_are_refused(reported: tuple[Project, Finished]) -> None:
    """The same rows with other labels: the word was corrected after the evaluation."""
    project, _ = reported
    path = project.folder / "artifacts/base/predictions.csv"
    before = path.read_bytes()
    found = read_predictions(path)
    labels = found.labels.copy()
    labels[0] = (labels[0] + 1) % len(WORDS)
    try:
        write_predictions(path, found.source_rows, found.recordings, labels, found.probabilities, WORDS)
        done = project.stage("report")
    finally:
        path.write_bytes(before)
    assert done.code == 2
    assert "tells of other clips than the test set has" in done.err


def test_a_network_without_results_is_named(reported: tuple[Project, Finished]) -> None:
    project, _ = reported
    metrics = project.folder / "metrics/skip.json"
    before = metrics.read_text()
    page = project.folder / "reports/index.html"
    first = page.read_bytes()
    try:
        metrics.unlink()
        assert project.stage("report").code == 0
        assert "skip was not evaluated yet: run dvc repro evaluate@skip" in page.read_text("utf-8")
    finally:
        metrics.write_text(before)
        page.unlink()
        page.write_bytes(first)
