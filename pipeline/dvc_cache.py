"""DVC's own cache holds stores as links to the same files, so what damages one damages both: and both are repaired."""

import hashlib
import subprocess
import sys
from pathlib import Path

from features.cache import link


def replace_damaged(store: Path, files: list[Path]) -> list[Path]:
    """Put repaired files into DVC's cache wherever it holds something else under their name.

    DVC names a cached file by its MD5 and does not look at its bytes again, so it would check a damaged one out.

    Parameters
    ----------
    store : Path
        Where the files lie; the DVC repository around it is meant.
    files : list of Path
        Files that are known to be right.

    Returns
    -------
    list of Path
        What was replaced in the cache; nothing where there is no DVC repository.
    """
    command = [sys.executable, "-m", "dvc", "cache", "dir"]
    done = subprocess.run(command, cwd=store.parent, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        return []
    replaced = []
    for file in files:
        md5 = _md5(file)
        cached = store.parent / done.stdout.strip() / "files" / "md5" / md5[:2] / md5[2:]
        if cached.exists() and _md5(cached) != md5:
            link(file, cached)
            cached.chmod(0o444)
            replaced.append(cached)
    return replaced


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
