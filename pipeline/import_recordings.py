"""Command ``import_recordings``: turn a folder or archive of anyone's recordings into an npz for ``data.npz``."""

from pathlib import Path
from typing import Annotated

import typer

from features.corpus import Corpus
from features.sources.naming import Table, parse_speaker
from features.sources.recordings import Other, Rules
from pipeline.commands.importing import WORKERS, Cutting, Force, Out, SkipBad, Source, Workers, import_npz
from pipeline.shell.stage import run


def main(
    source: Source,
    out: Out,
    speaker: Annotated[
        str,
        typer.Option(
            help="How to know the speaker: nohash, by names such as 0a7c_nohash_1.wav; folder, by the folders between "
            "the word's and the file; or a regular expression on the path whose group is the speaker."
        ),
    ] = "nohash",
    table: Annotated[
        Path | None,
        typer.Option(help="A CSV or TSV with the columns path and word, and, if known, speaker and set."),
    ] = None,
    other: Annotated[
        Other, typer.Option(help="What to do with words that corpus.words does not name: own keeps them as they are.")
    ] = "refuse",
    cut: Cutting = "loudest",
    skip_bad: SkipBad = False,
    force: Force = False,
    workers: Workers = WORKERS,
) -> None:
    """Write the recordings of SOURCE to OUT.npz, at the rate and length of corpus in params.yaml.

    The word of a recording is the folder it lies in: SOURCE/<word>/....
    """

    def rules(corpus: Corpus) -> Rules:
        known = Table.read(table, corpus) if table else None
        return Rules(cut=cut, other=other, speaker=parse_speaker(speaker), table=known)

    import_npz(source, out, rules, skip_bad=skip_bad, force=force, workers=workers)


if __name__ == "__main__":
    run(main)
