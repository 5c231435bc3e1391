"""Command ``import_speech_commands``: turn a Speech Commands archive or folder into an npz for ``data.npz``.

Layouts are those of Pete Warden, "Speech Commands: A Dataset for Limited-Vocabulary Speech Recognition" (2018):
versions 0.01 and 0.02 (``<word>/<speaker>_nohash_<take>.wav``, ``_background_noise_/<name>.wav`` and the lists of the
published split) and their test archives (``_unknown_/<word>_<speaker>_nohash_<take>.wav.wav`` and
``_silence_/<number>.wav``).
"""

from features.sources.recordings import Rules
from pipeline.commands.importing import WORKERS, Force, Out, SkipBad, Source, Workers, import_npz
from pipeline.shell.stage import run


def main(source: Source, out: Out, skip_bad: SkipBad = False, force: Force = False, workers: Workers = WORKERS) -> None:
    """Write the recordings of SOURCE to OUT.npz; words that corpus.words does not name become unknown."""
    import_npz(source, out, lambda corpus: Rules(other="unknown"), skip_bad=skip_bad, force=force, workers=workers)


if __name__ == "__main__":
    run(main)
