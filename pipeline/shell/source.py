"""Where the npz of clips is, for the project and for experiments that DVC runs in copies of it."""

from pathlib import Path

from features.errors import InputError
from pipeline.shell.options import project_of
from pipeline.shell.params import PARAMS, DataSpec

DEMO = Path("data/demo/speech_wav_8000.npz")
"""The demo corpus; each copy of a project has its own, because its settings are part of the experiment."""


def find_npz(data: DataSpec) -> Path:
    """Find the npz: an absolute path, one in the home folder (``~``), or one in the project's folder.

    DVC runs queued experiments in copies of the project, which lack the files that git does not know. There a relative
    path means the file of the project itself.

    Raises
    ------
    InputError
        If the setting is empty.
    """
    if not data.npz.strip():
        raise InputError(f"data.npz in {PARAMS} is empty; expected the path of an npz, such as {DEMO}")
    path = Path(data.npz).expanduser()
    if path.is_absolute() or path == DEMO or path.exists():
        return path
    project = project_of(Path.cwd())
    return path if project == Path.cwd() else project / path
