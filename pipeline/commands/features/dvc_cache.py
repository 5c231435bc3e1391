"""Repairing DVC's own cache, which links the same files as the stores and is damaged with them."""

import hashlib
from pathlib import Path

from features.store.cache import link
from pipeline.commands.dvc_status import run_dvc


def replace_damaged(store: Path, files: list[Path]) -> list[Path]:
    """Put repaired files of a store into DVC's cache where its copy is damaged or missing; which were put there.

    DVC names a cached file by its MD5 and seldom reads it again. So it would restore a damaged file, and it deletes
    one that it finds damaged. Nothing happens if DVC does not track the store.
    """
    done = run_dvc("cache", "dir", folder=store.parent)
    objects = store.parent / done.stdout.strip() / "files" / "md5"
    if done.returncode or not any(
        _object(objects, _md5(store / name)).exists() for name in ("manifest.json", "zarr.json")
    ):
        return []
    replaced = []
    for file in files:
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
