"""What DVC would do with a stage: run it, restore its outputs from DVC's cache, or nothing; and what it says of why."""

import json
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from ruamel.yaml import YAML

from features.errors import InputError

LOCK = Path("dvc.lock")
DEMO_STAGE = "demo/dvc.yaml:synthesize"
"""What makes the demo corpus, as DVC names it from the project's folder."""
LOST = "not in cache"
"""What DVC says of an output that it cannot restore."""


def run_dvc(*arguments: str, folder: Path | None = None) -> "subprocess.CompletedProcess[str]":
    """Run DVC in a folder, or here, and keep what it says."""
    command = [sys.executable, "-m", "dvc", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)  # noqa: S603  (no shell; what is asked is ours)


@dataclass(frozen=True)
class DvcStatus:
    """What ``dvc status`` says of stages, and what ``dvc.lock`` says of their last runs.

    Attributes
    ----------
    changes : dict
        For each stage that is not up to date, what of it has changed, as DVC says it.
    lock : dict
        For each stage that ever ran, what it read and wrote then.
    """

    changes: dict[str, list[Any]]
    lock: dict[str, Any]

    @classmethod
    def read(cls, stages: Iterable[str]) -> Self | None:
        """Ask DVC of stages and all before them; None where there is no DVC repository.

        Raises
        ------
        InputError
            If DVC cannot tell.
        """
        if not Path(".dvc").is_dir():
            return None
        done = run_dvc("status", "--json", "--with-deps", *stages)
        if done.returncode:
            lines = done.stderr.strip().splitlines() or ["no message"]
            said = next((line for line in lines if line.startswith("ERROR: ")), lines[0]).removeprefix("ERROR: ")
            raise InputError(
                f"DVC cannot tell what has changed ({said}); mend that, or wait until another dvc has ended"
            )
        lock = YAML(typ="safe").load(LOCK) if LOCK.exists() else {}
        return cls(json.loads(done.stdout), (lock or {}).get("stages", {}))

    def known(self, stage: str) -> bool:
        """Whether DVC has a record of the stage's last run."""
        return stage in self.lock

    def runs(self, stage: str) -> bool:
        """Whether DVC would run it, even if all stages before it came to what they came to last time."""
        changes = self.changes.get(stage, [])
        others = any(not isinstance(change, dict) for change in changes)
        lost = LOST in self.changed_outs(stage).values()
        return others or lost or bool(self.changed_deps(stage)) or (bool(changes) and not self.known(stage))

    def changed_deps(self, stage: str) -> dict[str, Any]:
        """What it depends on and has changed, and how; but for what a stage before it will make or restore again."""
        return {path: how for path, how in self._part(stage, "changed deps").items() if self._counts(stage, path)}

    def changed_outs(self, stage: str) -> dict[str, str]:
        """Outputs that are not as DVC left them, and how."""
        return self._part(stage, "changed outs")

    def last_read(self, stage: str, path: str) -> str | None:
        """Hash of a dependency when the stage last ran."""
        return self._hash(stage, "deps", path)

    def last_made(self, stage: str, path: str) -> str | None:
        """Hash of an output when the stage last ran."""
        return self._hash(stage, "outs", path)

    def _hash(self, stage: str, kind: str, path: str) -> str | None:
        found = [entry["md5"] for entry in self.lock.get(stage, {}).get(kind, []) if entry["path"] == path]
        return found[0] if found else None

    def _part(self, stage: str, part: str) -> dict[str, Any]:
        parts = [change for change in self.changes.get(stage, []) if isinstance(change, dict)]
        return {path: how for each in parts for path, how in each.get(part, {}).items()}

    def _counts(self, stage: str, path: str) -> bool:
        made = [hash_ for maker in self.changes if (hash_ := self.last_made(maker, path))]
        return not made or made[0] != self.last_read(stage, path)
