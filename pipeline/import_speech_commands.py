"""Command ``import_speech_commands``: turn a Speech Commands archive or folder into an npz for ``data.npz``."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import IO, Annotated

import numpy as np
import typer

from features.corpus import CLIP_SAMPLES, WORDS, Recording
from features.errors import InputError
from features.sources.npz_writer import write_npz
from features.sources.speech_commands import read_recordings
from features.store.publish import publish, refuse_existing
from pipeline.shell.progress import progress
from pipeline.shell.stage import run, say, warn, warn_waiting


def main(
    source: Annotated[Path, typer.Argument(help="Speech Commands: a .tar.gz archive or a folder.")],
    out: Annotated[Path, typer.Argument(metavar="OUT.npz", help="The npz to write.")],
    force: Annotated[bool, typer.Option("--force", help="Replace OUT.npz if it is a file.")] = False,
) -> None:
    """Write the clips of SOURCE to OUT.npz: 8 kHz, one second, twelve labels, sorted by word, speakers named."""
    if out.exists() and source.exists() and out.samefile(source):
        raise InputError(f"{out} is the source itself; expected another file to write, so choose another name")
    words: list[str] = []
    groups: list[str] = []
    with publish(out, guard=partial(refuse_existing, force=force), waiting=warn_waiting) as (aside,):
        samples = aside.with_name("samples")
        with open(samples, "wb") as unsorted, progress("importing", None) as advance:
            for recording in read_recordings(source, warn):
                unsorted.write(recording.clip.astype("<f4").data)
                words.append(recording.word)
                groups.append(recording.group)
                advance(1)
        if not words:
            raise InputError(f"{source} holds no <word>/<name>.wav files; expected Speech Commands, packed or unpacked")
        with open(samples, "rb") as unsorted, progress("writing", len(words)) as advance:
            write_npz(aside, len(words), _sorted_by_word(unsorted, words, groups), advance=advance)
    counts = ", ".join(f"{word} {words.count(word)}" for word in WORDS)
    say(f"import: {len(words)} clips by {len(set(groups))} speakers or stretches of noise ({counts}) -> {out}")


def _sorted_by_word(samples: IO[bytes], words: list[str], groups: list[str]) -> Iterator[Recording]:
    """Read clips from where they were spooled, one at a time."""
    for row in sorted(range(len(words)), key=words.__getitem__):
        samples.seek(row * 4 * CLIP_SAMPLES)
        yield Recording(np.fromfile(samples, "<f4", CLIP_SAMPLES), words[row], groups[row])


if __name__ == "__main__":
    run(main)
