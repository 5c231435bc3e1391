"""DVC's own cache holds stores as links to the same files, so what damages one damages both: and both are repaired."""

import hashlib
from pathlib import Path

from features.store.cache import link
from features.store.manifest import GROUP, NAME
from pipeline.commands.dvc_status import run_dvc


def replace_damaged(store: Path, files: list[Path]) -> list[Path]:
    """Put repaired files into DVC's cache wherever it holds something else under their name, or has lost them.

    DVC names a cached file by its MD5. It seldom looks at its bytes again, so it would check a damaged one out; and
    when it does look, it deletes a damaged one.

    Parameters
    ----------
    store : Path
        Where the files lie; the DVC repository around it is meant.
    files : list of Path
        Files of it that are known to be right.

    Returns
    -------
    list of Path
        What was replaced in the cache; nothing where there is no DVC repository, or DVC does not keep this store.
    """
    done = run_dvc("cache", "dir", folder=store.parent)
    if done.returncode:
        return []
    objects = store.parent / done.stdout.strip() / "files" / "md5"
    replaced = []
    kept = any(_object(objects, _md5(store / name)).exists() for name in (NAME, GROUP))
    for file in files if kept else []:
        md5 = _md5(file)
        cached = _object(objects, md5)
        if not cached.exists() or _md5(cached) != md5:
            cached.parent.mkdir(parents=True, exist_ok=True)
            link(file, cached)
            cached.chmod(0o444)
            replaced.append(cached)
    return replaced


def _object(objects: Path, md5: str) -> Path:
    return objects / md5[:2] / md5[2:]


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
