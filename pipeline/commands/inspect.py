"""Command ``features inspect``: what is in a store; single clips as pictures and sound."""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict
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
from pipeline.shell.stage import counted, note, say

SPLIT = Path("data/split")
LISTED = 5
TERMINAL_PICTURES = 3
SHEET_CLIPS = 24
"""Greatest number of clips drawn side by side."""
SAMPLE = 3
TO = Path("inspected")


def command(
    store: Annotated[str, typer.Argument(help="A store, such as data/features/train.zarr or data/split/train.zarr.")],
    clip: Annotated[int | None, typer.Option(min=0, help="Show this clip, by its number in the store.")] = None,
    word: Annotated[str | None, typer.Option(help="Show clips of this word.")] = None,
    sample: Annotated[
        int | None, typer.Option(min=1, help=f"How many clips of the word to show, at random; {SAMPLE} by default.")
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
            shown = _show(opened, waveforms, clips, to or TO, guard, picture=not as_json)
            if as_json:
                say(json.dumps(shown, indent=2))
            return
        passes = 2 if isinstance(opened, FeatureStore) and waveforms else 1
        with progress(f"inspecting {path.name}", passes * opened.clips) as advance:
            found = _describe(opened, waveforms, advance)
    say(json.dumps(found, indent=2)) if as_json else _print(found)


def _waveforms_of(store: FeatureStore | WaveformStore) -> WaveformStore | None:
    """Find the waveforms that the features were computed from: beside the store, or in data/split."""
    if isinstance(store, WaveformStore):
        return store
    for path in (store.path.absolute().parent.parent / "split" / store.path.name, *sorted(SPLIT.glob("*.zarr"))):
        if not path.exists():
            continue
        try:
            found = WaveformStore.open(path)
        except InputError as error:
            note(str(error))
            continue
        if found.attributes["digest"] == store.attributes["source_digest"]:
            return found
    return None


def _describe(store: Store, waveforms: WaveformStore | None, advance: Any) -> dict[str, Any]:
    found = inspect(store, waveforms, advance)
    stored = sum(checksum.size for checksum in store.manifest.shards)
    raw = int(np.prod((store.clips, *store.shape))) * np.dtype(store.layout.dtype).itemsize
    return {
        "store": str(store.path),
        "array": store.name,
        "shape": [store.clips, *store.shape],
        "dimensions": list(store.dimensions),
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
    if isinstance(value, dict):
        return ", ".join(
            f"{key} {_flat(item)}" if not isinstance(item, dict) else _flat(item) for key, item in value.items()
        )
    return str(value)


def _listed(clips: Sequence[Any] | None) -> str:
    if clips is None:
        return "not looked for: the waveforms are not there"
    if not clips:
        return "none"
    shown = ", ".join(_equal(clip) if isinstance(clip, list) else str(clip) for clip in clips[:LISTED])
    return f"{len(clips)} (clips {shown}{', ...' if len(clips) > LISTED else ''})"


def _equal(clips: list[int]) -> str:
    return " = ".join([*map(str, clips[:LISTED]), *(["..."] if len(clips) > LISTED else [])])


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


def _show(
    store: FeatureStore | WaveformStore,
    waveforms: WaveformStore | None,
    clips: list[int],
    to: Path,
    guard: Callable[[Path], None],
    *,
    picture: bool,
) -> list[dict[str, Any]]:
    """Write pictures and sound of clips, and draw the first few in the terminal; ``guard`` protects existing files."""
    from features.look import pictures  # slow to import, for matplotlib

    if to.exists() and not to.is_dir():
        raise InputError(f"{to} is a file; expected a folder for pictures and sound, so give another with --to")
    to.mkdir(parents=True, exist_ok=True)
    labels, rows = store.labels, store.source_rows
    for checked in {id(each): each for each in (store, waveforms) if each is not None}.values():
        for number in {clip // checked.layout.shard_clips for clip in clips}:
            checked.check(number)
    values = np.concatenate([store.read(clip, clip + 1) for clip in clips]).astype(np.float32)
    titles = [f"{WORDS[labels[clip]]}, clip {clip}, row {rows[clip]}" for clip in clips]
    names = [f"{store.path.stem}-{WORDS[labels[clip]]}-{clip}" for clip in clips]
    pngs = [to / f"{name}.png" for name in names]
    wavs = [to / f"{name}.wav" for name in names] if waveforms is not None else []
    sheet = to / f"{store.path.stem}-{WORDS[labels[clips[0]]]}.png"
    for path in (*pngs, *wavs, *([sheet] if len(clips) > 1 else [])):
        guard(path)  # all, before the first is written
    console = Console()
    width = max(8, min(64, shutil.get_terminal_size().columns - 12))

    def draw(path: Path, chosen: Any, named: list[str]) -> None:
        with publish(path, guard=guard) as (staged,):
            if isinstance(store, FeatureStore):
                pictures.draw_spectrograms(staged, chosen, store.axes, named)
            else:
                pictures.draw_waveforms(staged, chosen, named)

    shown = []
    for at, (clip, png, title) in enumerate(zip(clips, pngs, titles, strict=True)):
        draw(png, values[at : at + 1], [title])
        if waveforms is not None:
            with publish(wavs[at], guard=guard) as (staged,):
                pictures.write_wav(staged, waveforms.read(clip, clip + 1)[0])
        shown.append(
            {
                "clip": clip,
                "word": WORDS[labels[clip]],
                "source_row": int(rows[clip]),
                "picture": str(png),
                "sound": str(wavs[at]) if waveforms is not None else None,
            }
        )
        if picture:
            say(f"{title}:")
            if isinstance(store, FeatureStore) and console.is_terminal and at < TERMINAL_PICTURES:
                console.print(pictures.blocks(values[at], store.axes, columns=width))
            say("  " + ", ".join(map(str, [png, *wavs[at : at + 1]])))
    if len(clips) > 1:
        draw(sheet, values[:SHEET_CLIPS], titles[:SHEET_CLIPS])
        if picture:
            say(f"{'side by side' if len(clips) <= SHEET_CLIPS else f'the first {SHEET_CLIPS} side by side'}: {sheet}")
    if waveforms is None:
        note(f"no sound was written, because the waveforms of {store.path} are neither beside it nor in {SPLIT}")
    return shown
