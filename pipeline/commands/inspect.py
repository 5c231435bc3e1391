"""Command ``features inspect``: what is in a store; single clips as pictures and sound."""

import json
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from features.corpus import WORDS
from features.errors import InputError
from features.look.location import locate, reachable
from features.look.summary import inspect
from features.store.publish import publish, refuse_existing
from features.store.reader import FeatureStore, Store, WaveformStore, open_store
from pipeline.shell.progress import progress
from pipeline.shell.stage import counted, say, warn

SPLIT = Path("data/split")
LISTED = 5
"""Suspicious clips that are listed by number."""
TERMINAL_PICTURES = 3
"""Clips that are drawn in the terminal."""
SHEET_CLIPS = 24
"""Clips that are drawn side by side in one picture."""
SAMPLE = 3
TO = Path("inspected")


def command(
    store: Annotated[str, typer.Argument(help="A store, such as data/features/train.zarr or data/split/train.zarr.")],
    clip: Annotated[int | None, typer.Option(min=0, help="Show this clip, by its number in the store.")] = None,
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
    if clip is not None and word is not None:
        raise InputError("--clip and --word were both given; expected one of them, so leave out the other")
    if word is None and (sample, seed) != (None, None):
        raise InputError("--sample and --seed choose among the clips of a word; expected --word with them, such as yes")
    if clip is None and word is None and to is not None:
        raise InputError("--to is where pictures and sound go; expected --word or --clip with it, to say of what")
    path = locate(store)
    with reachable(path):
        opened = open_store(path)
        waveforms = _waveforms_of(opened)
        if clip is not None or word is not None:
            clips = _choose(opened, clip, word, sample or SAMPLE, seed or 0)
            guard = partial(refuse_existing, force=force or to is None)  # the default folder is ours
            shown, sheet = _write(opened, waveforms, clips, to or TO, guard)
            if as_json:
                say(json.dumps([asdict(each) for each in shown], indent=2))
            else:
                _draw(opened, shown, sheet)
            return
        passes = 2 if isinstance(opened, FeatureStore) and waveforms else 1
        with progress(f"inspecting {path.name}", passes * opened.clips) as advance:
            found = _describe(opened, waveforms, advance)
    say(json.dumps(found, indent=2)) if as_json else _print(found)


def _waveforms_of(store: Store) -> WaveformStore | None:
    """The waveforms that features were computed from, if they are in ``split`` beside the features or here."""
    if isinstance(store, WaveformStore):
        return store
    for path in (store.path.absolute().parent.parent / "split" / store.path.name, *sorted(SPLIT.glob("*.zarr"))):
        with suppress(InputError):
            found = WaveformStore.open(path)
            if found.attributes["digest"] == store.attributes["source_digest"]:
                return found
    return None


def _describe(store: Store, waveforms: WaveformStore | None, advance: Any) -> dict[str, Any]:
    found = inspect(store, waveforms, advance)
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
        "words": found.words,
        "values": found.statistics,
        "suspicious": asdict(found.suspicious),
    }


def _print(found: dict[str, Any]) -> None:
    console = Console(highlight=False)
    sizes = " x ".join(f"{size:,} {name}" for size, name in zip(found["shape"], found["dimensions"], strict=True))
    facts = Table.grid(padding=(0, 2))
    facts.add_row("array", f"{found['array']}: {sizes}, {found['dtype']}")
    facts.add_row(
        "layout",
        f"{counted(found['shards'], 'shard')} of {found['shard_clips']} clips, chunks of {found['chunk_clips']}",
    )
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
        facts.add_row(name.replace("_", "-"), _listed(clips))
    console.print(found["store"], style="bold", markup=False)
    console.print(facts)
    words = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    pairs = [f"{word} {count:,}" for word, count in found["words"].items()]
    for start in range(0, len(pairs), 6):
        words.add_row(*pairs[start : start + 6])
    console.print(words)


def _flat(value: Any) -> str:
    """Nested settings in one line: ``n_fft 258, hop_length 64``."""
    if not isinstance(value, dict):
        return str(value)
    return ", ".join(_flat(item) if isinstance(item, dict) else f"{key} {item}" for key, item in value.items())


def _listed(clips: list[Any] | None) -> str:
    """Numbers of suspicious clips, or of groups of equal clips."""
    if clips is None:
        return "unknown without the waveforms"
    if not clips:
        return "none"
    shown = [" = ".join(map(str, clip)) if isinstance(clip, list) else str(clip) for clip in clips[:LISTED]]
    return f"{len(clips)} (clips {', '.join([*shown, *(['...'] if len(clips) > LISTED else [])])})"


def _choose(store: Store, clip: int | None, word: str | None, sample: int, seed: int) -> list[int]:
    if clip is not None:
        if clip >= store.clips:
            raise InputError(f"{store.path} has no clip {clip}; expected 0 to {store.clips - 1}")
        return [clip]
    if word not in WORDS:
        raise InputError(f"there is no word {word!r}; expected one of {', '.join(WORDS)}")
    clips = np.flatnonzero(store.labels == WORDS.index(word))
    if not len(clips):
        raise InputError(f"{store.path} has no clip of {word}; run features inspect {store.path} to see its words")
    return sorted(np.random.default_rng(seed).permutation(clips)[:sample].tolist())


@dataclass(frozen=True)
class _Shown:
    """A clip, and the files that show it."""

    clip: int
    word: str
    source_row: int
    picture: str
    sound: str | None

    @property
    def title(self) -> str:
        return f"{self.word}, clip {self.clip}, row {self.source_row}"

    @property
    def files(self) -> list[str]:
        return [self.picture, *([self.sound] if self.sound else [])]


def _write(
    store: FeatureStore | WaveformStore,
    waveforms: WaveformStore | None,
    clips: list[int],
    to: Path,
    guard: Callable[[Path], None],
) -> tuple[list[_Shown], Path | None]:
    """Write a picture and the sound of each clip, and one picture of all; ``guard`` protects existing files."""
    from features.look import pictures  # matplotlib is slow to import

    if to.exists() and not to.is_dir():
        raise InputError(f"{to} is a file; expected a folder for pictures and sound, so give another with --to")
    to.mkdir(parents=True, exist_ok=True)
    words, rows = [WORDS[label] for label in store.labels[clips]], store.source_rows[clips].tolist()
    shown = []
    for clip, word, row in zip(clips, words, rows, strict=True):
        name = to / f"{store.path.stem}-{word}-{clip}"
        shown.append(_Shown(clip, word, row, f"{name}.png", f"{name}.wav" if waveforms else None))
    sheet = to / f"{store.path.stem}-{words[0]}.png" if len(clips) > 1 else None
    values = np.concatenate([store.read(clip, clip + 1) for clip in clips]).astype(np.float32)

    def draw(path: Path, which: slice) -> None:
        titles = [each.title for each in shown[which]]
        if isinstance(store, FeatureStore):
            pictures.draw_spectrograms(path, values[which], store.axes, titles)
        else:
            pictures.draw_waveforms(path, values[which], titles)

    files = [Path(file) for each in shown for file in each.files]
    with publish(*files, *([sheet] if sheet else []), guard=guard) as staged:
        paths = iter(staged)
        for at, clip in enumerate(clips):
            draw(next(paths), slice(at, at + 1))
            if waveforms:
                pictures.write_wav(next(paths), waveforms.read(clip, clip + 1)[0])
        if sheet:
            draw(next(paths), slice(SHEET_CLIPS))
    return shown, sheet


def _draw(store: FeatureStore | WaveformStore, shown: list[_Shown], sheet: Path | None) -> None:
    """Print where pictures and sound are, and draw the first few clips on a terminal."""
    from features.look import pictures

    console = Console()
    columns = max(8, min(64, shutil.get_terminal_size().columns - 12))
    for at, each in enumerate(shown):
        say(f"{each.title}:")
        if isinstance(store, FeatureStore) and console.is_terminal and at < TERMINAL_PICTURES:
            console.print(pictures.blocks(store.read(each.clip, each.clip + 1)[0], store.axes, columns=columns))
        say(f"  {', '.join(each.files)}")
    if sheet:
        say(f"{'' if len(shown) <= SHEET_CLIPS else f'the first {SHEET_CLIPS} '}side by side: {sheet}")
    if not shown[0].sound:
        warn(f"no sound was written, because the waveforms of {store.path} are neither beside it nor in {SPLIT}")
