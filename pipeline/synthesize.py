"""Stage ``synthesize``: make the demo corpus if ``data.npz`` names it, and show DVC which npz is in use.

A speech synthesiser speaks the demo corpus, in the schema of the reference file. A file that the same settings and code
made, and that is intact, stays as it is.
"""

import os
import zipfile
import zlib
from pathlib import Path

import msgspec

from features.corpus import Corpus
from features.errors import InputError
from features.sources.demo_corpus import SynthesizeSpec, clips_per_word, synthesize
from features.sources.npz import check_is_npz
from features.sources.npz_writer import maker_of, write_npz
from features.store.publish import publish, refuse_foreign
from pipeline.shell.params import DataSpec, read_section, refuse_edited_settings
from pipeline.shell.progress import progress
from pipeline.shell.results import result_key
from pipeline.shell.source import DEMO, find_npz
from pipeline.shell.stage import refuse_edited_code, run, say, warn_waiting

LINK = Path("data/.npz")
"""A link to the npz in use. DVC watches it, so no stage depends on a path that only the settings know."""
MAKER = "spoken-words synthesize"
"""What the maker recorded in our npz begins with; a fingerprint of settings and code follows."""
CODE = (
    "features.corpus",
    "features.sources.demo_corpus",
    "features.sources.espeak",
    "features.sources.npz_writer",
    "pipeline.synthesize",
)
"""Modules that decide the samples."""
LIBRARIES = ("espeakng-loader", "numpy", "soxr")


def refuse_own_file(output: Path) -> None:
    """Refuse to replace an npz that this stage did not write.

    Raises
    ------
    InputError
        If the path holds anything else, such as a user's own npz.
    """
    refuse_foreign(output)
    if output.exists() and not maker_of(output).startswith(MAKER):
        raise InputError(
            f"{output} is not the demo corpus that this stage wrote, so it stays as it is; expected your own npz under "
            "another path, so move it and set data.npz to its new path in params.yaml"
        )


def is_demo_made() -> bool:
    """Whether the demo corpus is there as this stage would make it; its samples are not checked."""
    spec, corpus = read_section("synthesize", SynthesizeSpec), read_section("corpus", Corpus)
    return maker_of(DEMO) == _maker(spec, corpus)


def _maker(spec: SynthesizeSpec, corpus: Corpus) -> str:
    return f"{MAKER} {result_key(msgspec.to_builtins([spec, corpus]), CODE, LIBRARIES)}"


def is_intact(path: Path) -> bool:
    """Whether every member of a zip matches its checksum."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (OSError, ValueError, zipfile.BadZipFile, zlib.error):
        return False


def main() -> None:
    """Point data/.npz at the clips that data.npz names; make the demo corpus first if it is that."""
    data = read_section("data", DataSpec)
    npz = find_npz(data)
    if npz == DEMO:
        _make_demo()
    check_is_npz(npz)
    if LINK.exists() and not LINK.is_symlink():
        raise InputError(f"{LINK} is not a link that this stage made; expected nothing of yours there, so move it away")
    LINK.unlink(missing_ok=True)
    LINK.parent.mkdir(exist_ok=True)
    # Relative as the setting is, so that a project with its npz may be moved: DVC fails on a link that leads nowhere.
    LINK.symlink_to(npz if npz.is_absolute() else os.path.relpath(npz, LINK.parent.resolve()))
    refuse_edited_settings({"data": data})
    if npz != DEMO:
        say(f"synthesize: nothing to do, because data.npz in params.yaml names {npz}")


def _make_demo() -> None:
    """Write the demo corpus with the settings of synthesize in params.yaml, unless it is there."""
    spec, corpus = read_section("synthesize", SynthesizeSpec), read_section("corpus", Corpus)
    refuse_own_file(DEMO)
    maker = _maker(spec, corpus)
    if maker_of(DEMO) == maker and is_intact(DEMO):
        refuse_edited_settings({"synthesize": spec, "corpus": corpus})
        say(f"synthesize: {DEMO} is up to date")
        return
    with (
        publish(DEMO, guard=refuse_own_file, waiting=warn_waiting) as (aside,),
        progress("speaking", spec.clips) as advance,
    ):
        write_npz(aside, spec.clips, synthesize(spec, corpus), corpus, maker=maker, advance=advance)
        refuse_edited_settings({"synthesize": spec, "corpus": corpus})
        refuse_edited_code()
    speakers = max(clips_per_word(spec.clips, corpus.words).values())
    say(f"synthesize: {spec.clips} clips by {speakers} speakers -> {DEMO}")


if __name__ == "__main__":
    run(main)
