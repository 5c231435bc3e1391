"""Stage ``synthesize``: write the embedded corpus, spoken by a speech synthesiser, in the schema of the real file."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from features.errors import InputError
from features.sources.demo_corpus import SynthesizeSpec, synthesize
from features.sources.espeak import open_voice
from features.sources.npz_writer import is_made_by, write_npz
from features.store.publish import publish, refuse_foreign
from pipeline.shell.params import read_section, refuse_edited_settings
from pipeline.shell.progress import progress
from pipeline.shell.stage import note_waiting, refuse_edited_code, run, say

OUTPUT = Path("data/demo/speech_wav_8000.npz")
MAKER = "spoken-words synthesize"


def refuse_own_file(output: Path) -> None:
    """Refuse to replace an npz that somebody else put in the demo corpus's place.

    Raises
    ------
    InputError
        If a file stands there that this stage did not write.
    """
    refuse_foreign(output)
    if output.exists() and not is_made_by(output, MAKER):
        raise InputError(
            f"{output} is not the demo corpus that this stage wrote, so it stays as it is; expected your own npz under "
            "another path, so move it and set data.npz to its new path in params.yaml"
        )


def main() -> None:
    """Write data/demo/speech_wav_8000.npz with the settings of synthesize in params.yaml."""
    spec = read_section("synthesize", SynthesizeSpec)
    words: list[str] = []
    speakers: list[str] = []
    with (
        open_voice() as voice,
        publish(OUTPUT, guard=refuse_own_file, waiting=note_waiting) as (aside,),
        progress("speaking", spec.clips) as advance,
    ):

        def blocks() -> Iterator[NDArray[np.float32]]:
            for clip, word, speaker in synthesize(spec, voice):
                words.append(word)
                speakers.append(speaker)
                advance(1)
                yield clip[np.newaxis]

        write_npz(aside, spec.clips, blocks(), words, speakers, maker=MAKER)
        refuse_edited_settings({"synthesize": spec})
        refuse_edited_code()
    voices = {speaker for word, speaker in zip(words, speakers, strict=True) if word != "silence"}
    say(f"synthesize: {spec.clips} clips by {len(voices)} speakers -> {OUTPUT}")


if __name__ == "__main__":
    run(main)
