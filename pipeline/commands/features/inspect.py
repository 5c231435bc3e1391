"""Command ``features inspect``: what is in a store; single clips as pictures and sound."""

import json
import re
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from rich.text import Text

from features.corpus import name_of_clip, word_counts
from features.errors import InputError
from features.look.location import locate, reachable
from features.look.siblings import SPLIT, waveforms_of
from features.look.summary import summarize
from features.store.publish import publish, refuse_existing
from features.store.reader import FeatureStore, Store, WaveformStore, open_store
from pipeline.shell.progress import progress
from pipeline.shell.stage import counted, say, warn

LISTED = 5
"""Suspicious clips, or groups of equal clips, that are listed by number."""
TERMINAL_PICTURES = 3
"""Clips that are drawn in the terminal."""
SHEET_CLIPS = 24
"""Clips that are drawn side by side in one picture."""
SAMPLE = 3
HEADING_CHARACTERS = 48
TO = Path("inspected")


def command(
    store: Annotated[str, typer.Argument(help="A store, such as data/features/train.zarr or data/split/train.zarr.")],
    clip: Annotated[int | None, typer.Option(min=0, help="Show this clip, by its number in the store.")] = None,
    row: Annotated[int | None, typer.Option(min=0, help="Show this clip, by its row in the npz.")] = None,
    recording: Annotated[str | None, typer.Option(help="Show the clips of this file, by its path.")] = None,
    word: Annotated[str | None, typer.Option(help="Show clips of this word.")] = None,
    sample: Annotated[
        int | None,
        typer.Option(min=1, help=f"How many clips of the word to show, at random; {SAMPLE} by default."),
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Another seed, other clips.")] = None,
    to: Annotated[
        Path | None, typer.Option(help=f"Folder for pictures (.png) and sound (.wav); {TO} by default.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace pictures and sound in that folder.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print it for programs.")] = False,
) -> None:
    """What is in a store: size, settings, words, values, suspicious clips; or single clips to look at and hear.

    features inspect data/features/train.zarr --word yes --sample 3
    """
    chosen = {"--clip": clip, "--row": row, "--recording": recording, "--word": word}
    given = [name for name, value in chosen.items() if value is not None]
    if len(given) > 1:
        raise InputError(f"{' and '.join(given)} were given; expected one of them, so leave out the rest")
    if word is None and (sample, seed) != (None, None):
        raise InputError("--sample and --seed choose among the clips of a word; expected --word with them, such as yes")
    if not given and to is not None:
        raise InputError(
            "--to is where pictures and sound go; expected --word, --clip, --row or --recording with it, to say of what"
        )
    path = locate(store)
    with reachable(path):
        opened = open_store(path)
        if clip is not None:
            _show(opened, [_existing(opened, clip)], to, force, as_json)
        elif row is not None:
            _show(opened, [_clip_of_row(opened, row)], to, force, as_json)
        elif recording is not None:
            _show(opened, _clips_of_recording(opened, recording), to, force, as_json)
        elif word is not None:
            _show(opened, _sample(opened, word, sample or SAMPLE, seed or 0), to, force, as_json)
        else:
            found = _describe(opened)
            say(json.dumps(found, indent=2)) if as_json else _print(found, opened)


def _describe(store: Store) -> dict[str, Any]:
    waveforms = waveforms_of(store)
    with progress(f"inspecting {store.path.name}", store.clips * (2 if waveforms else 1)) as advance:
        values, suspicious = summarize(store, waveforms, advance)
    stored = sum(checksum.size for checksum in store.manifest.shards)
    raw = int(np.prod((store.clips, *store.shape))) * np.dtype(store.layout.dtype).itemsize
    return {
        "store": str(store.path),
        "array": store.array.name,
        "shape": [store.clips, *store.shape],
        "dimensions": list(store.array.dimensions),
        "dtype": store.layout.dtype,
        "chunk_clips": store.layout.chunk_clips,
        "shard_clips": store.layout.shard_clips,
        "shards": len(store.shards),
        "codec": store.layout.codec,
        "bytes": stored,
        "uncompressed_bytes": raw,
        "ratio": raw / stored,
        "provenance": {key: value for key, value in store.attributes.items() if key not in ("words", "clips", "store")},
        "words": word_counts(store.labels, store.attributes["words"]),
        "values": values,
        "suspicious": asdict(suspicious),
    }


def _print(found: dict[str, Any], store: Store) -> None:
    sizes = " x ".join(f"{size:,} {name}" for size, name in zip(found["shape"], found["dimensions"], strict=True))
    shards = counted(found["shards"], "shard")
    facts = Table.grid(padding=(0, 2))
    facts.add_row("array", f"{found['array']}: {sizes}, {found['dtype']}")
    facts.add_row("layout", f"{shards} of {found['shard_clips']} clips, chunks of {found['chunk_clips']}")
    facts.add_row(
        "size",
        f"{found['bytes'] / 1e6:,.1f} MB on disk, {found['uncompressed_bytes'] / 1e6:,.1f} MB of values, "
        f"codec {found['codec']}, ratio {found['ratio']:.2f}",
    )
    for key, value in found["provenance"].items():
        facts.add_row(key.replace("_", " "), _flat(value))
    values = found["values"]
    facts.add_row(
        "values",
        f"{values['minimum']:.4g} to {values['maximum']:.4g}, mean {values['mean']:.4g}, "
        f"standard deviation {values['standard_deviation']:.4g}",
    )
    for name, clips in found["suspicious"].items():
        facts.add_row(name.replace("_", "-"), Text(_listed(clips, store.recordings)))  # no markup: [b] is a name
    facts.add_row("words", ", ".join(f"{word} {count:,}" for word, count in found["words"].items()))
    console = Console(highlight=False)
    console.print(found["store"], style="bold", markup=False)
    console.print(facts)


def _flat(value: Any) -> str:
    """Nested settings in one line: ``n_fft 258, hop_length 64``."""
    if not isinstance(value, dict):
        return str(value)
    return ", ".join(_flat(item) if isinstance(item, dict) else f"{key} {item}" for key, item in value.items())


def _listed(clips: list[Any] | None, recordings: NDArray[np.str_]) -> str:
    if clips is None:
        return "unknown without the waveforms"
    if not clips:
        return "none"
    shown = [*map(str, clips[:LISTED]), *(["..."] if len(clips) > LISTED else [])]
    files = [f"\n{recordings[clip]}" for group in clips[:LISTED] for clip in np.ravel(group) if recordings[clip]]
    return f"{len(clips)} (clips {', '.join(shown)}){''.join(files)}"


def _existing(store: Store, clip: int) -> int:
    if clip >= store.clips:
        raise InputError(f"{store.path} has no clip {clip}; expected 0 to {store.clips - 1}")
    return clip


def _clip_of_row(store: Store, row: int) -> int:
    found = np.flatnonzero(store.source_rows == row)
    if not len(found):
        raise InputError(f"{store.path} holds no clip of row {row}; it may be in another set, so try that one's store")
    return int(found[0])


def _clips_of_recording(store: Store, recording: str) -> list[int]:
    found = [
        clip
        for clip, each in enumerate(store.recordings.tolist())
        if each == recording or each.startswith(f"{recording} at ")  # one of several clips of the file
    ]
    if not found:
        raise InputError(f"{store.path} holds no clip of {recording}; {_elsewhere(store, recording)}")
    return found


def _elsewhere(store: Store, recording: str) -> str:
    """Where the clips of a file are instead, or which files there are."""
    for path in sorted(store.path.parent.glob("*.zarr")):
        with suppress(InputError):
            if any(each.startswith(recording) for each in open_store(path).recordings.tolist()):
                return f"it is in {path}, so name that store"
    example = next((f", such as {each}" for each in store.recordings.tolist() if each), "")
    return f"expected a path as the .tsv beside the npz has it{example}"


def _sample(store: Store, word: str, sample: int, seed: int) -> list[int]:
    """Random clips of a word, by their numbers."""
    words = store.attributes["words"]
    if word not in words:
        raise InputError(f"there is no word {word!r}; expected one of {', '.join(words)}")
    clips = np.flatnonzero(store.labels == words.index(word))
    if not len(clips):
        raise InputError(f"{store.path} has no clip of {word}; run features inspect {store.path} to see its words")
    return sorted(np.random.default_rng(seed).permutation(clips)[:sample].tolist())


@dataclass(frozen=True)
class _Shown:
    """A clip, and the files that show it."""

    clip: int
    word: str
    source_row: int
    recording: str
    """Empty if unknown."""
    picture: str
    sound: str | None

    @property
    def title(self) -> str:
        return f"{self.word}, clip {self.clip}, {name_of_clip(self.source_row, self.recording)}"

    @property
    def heading(self) -> str:
        """The title in two lines, as wide as a picture."""
        path = self.recording
        if len(path) > HEADING_CHARACTERS:
            path = f"...{path[3 - HEADING_CHARACTERS :]}"  # the end of a path tells files apart
        return f"{self.word}, clip {self.clip}, row {self.source_row}\n{path}".rstrip()


def _file_name(word: str) -> str:
    return re.sub(r"[^\w-]", "_", word)


def _show(store: FeatureStore | WaveformStore, clips: list[int], to: Path | None, force: bool, as_json: bool) -> None:
    """Write a picture and the sound of each clip, and one picture of the first few side by side; print where."""
    from features.look import pictures  # matplotlib is slow to import

    folder, waveforms = to or TO, waveforms_of(store)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file; expected a folder for pictures and sound, so give another with --to")
    labels, rows, rate_hz = store.labels, store.source_rows, store.attributes["sample_rate_hz"]
    recordings = store.recordings
    shown = []
    for clip in clips:
        word = store.attributes["words"][labels[clip]]
        name = folder / f"{store.path.stem}-{_file_name(word)}-{clip}"
        recording = str(recordings[clip])
        sound = f"{name}.wav" if waveforms else None
        shown.append(_Shown(clip, word, int(rows[clip]), recording, f"{name}.png", sound))
    sheet = str(folder / f"{store.path.stem}-{_file_name(shown[0].word)}.png") if len(shown) > 1 else None

    def draw(path: Path, which: list[_Shown]) -> None:
        values = np.concatenate([store.read(each.clip, each.clip + 1) for each in which])
        titles = [each.heading for each in which]
        if isinstance(store, FeatureStore):
            pictures.draw_spectrograms(path, values, store.axes, store.attributes["unit"], titles)
        else:
            pictures.draw_waveforms(path, values, rate_hz, titles)

    files = [file for each in shown for file in (each.picture, each.sound) if file] + ([sheet] if sheet else [])
    guard = partial(refuse_existing, force=force or to is None)  # the default folder is ours
    with publish(*map(Path, files), guard=guard) as staged:
        paths = dict(zip(files, staged, strict=True))
        for each in shown:
            draw(paths[each.picture], [each])
            if each.sound and waveforms:
                pictures.write_wav(paths[each.sound], waveforms.read(each.clip, each.clip + 1)[0], rate_hz)
        if sheet:
            draw(paths[sheet], shown[:SHEET_CLIPS])
    if as_json:
        say(json.dumps([asdict(each) for each in shown], indent=2))
        return
    console = Console()
    columns = max(8, min(64, console.width - 12))
    for at, each in enumerate(shown):
        say(f"{each.title}:")
        if isinstance(store, FeatureStore) and console.is_terminal and at < TERMINAL_PICTURES:
            values = store.read(each.clip, each.clip + 1)[0]
            plain = console.no_color or console.color_system is None or not console.encoding.startswith("utf")
            console.print(pictures.blocks(values, store.axes, store.attributes["unit"], columns, plain=plain))
        say(f"  {each.picture}{f', {each.sound}' if each.sound else ''}")
    if sheet:
        say(f"{f'the first {SHEET_CLIPS} ' if len(shown) > SHEET_CLIPS else ''}side by side: {sheet}")
    if not waveforms:
        warn(f"no sound was written, because the waveforms of {store.path} are neither beside it nor in {SPLIT}")
