"""What DVC would do with a stage, and why: run it, restore its outputs from DVC's cache, or nothing."""

import json
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from ruamel.yaml import YAML

from features.errors import InputError
from pipeline.shell.params import PARAMS

LOCK = Path("dvc.lock")
LINK = "data/.npz"
"""A link to the npz in use, which no stage makes again."""
LOST = "not in cache"
"""DVC's words for an output that it cannot restore."""


def run_dvc(*arguments: str, folder: Path | None = None) -> "subprocess.CompletedProcess[str]":
    """Run DVC in a folder, by default the current one, and capture its output."""
    command = [sys.executable, "-m", "dvc", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)  # noqa: S603  (our own arguments, no shell)


@dataclass(frozen=True)
class DvcStatus:
    """Output of ``dvc status``, beside what ``dvc.lock`` records of the last runs."""

    changes: dict[str, list[Any]]
    """What changed, in DVC's words, for each stage that is not up to date."""
    lock: dict[str, Any]
    """What each stage read and wrote when it last ran."""

    @classmethod
    def read(cls, stages: Iterable[str]) -> Self:
        """Ask DVC about stages and all that come before them.

        Raises
        ------
        InputError
            If DVC fails, for example because another ``dvc`` is running.
        """
        done = run_dvc("status", "--json", "--with-deps", *stages)
        if done.returncode:
            message = done.stderr.partition("ERROR: ")[2].partition("\n")[0] or done.stderr
            raise InputError(f"dvc status failed ({message}); fix that, or wait until another dvc has ended")
        lock = YAML(typ="safe").load(LOCK) if LOCK.exists() else {}
        return cls(json.loads(done.stdout), lock.get("stages", {}))

    def reasons(self, stage: str) -> list[str]:
        """Why DVC would run a stage; empty if it would not.

        Assumes that the stages before it give what they gave last time.
        """
        if stage not in self.lock:
            return [f"{LOCK} has no record of {stage}"]
        found = [f"{stage}: {change}" for change in self.changes.get(stage, []) if isinstance(change, str)]
        # A changed stage before this one will restore, or make again, what this one read last time.
        upcoming = [out for changed in self.changes for out in self._recorded(changed, "outs") if out[0] != LINK]
        restored = [path for path, md5 in self._recorded(stage, "deps") if (path, md5) in upcoming]
        for path, how in self._changed(stage, "changed deps").items():
            if isinstance(how, dict):
                found += [f"{setting} in {path} is {change}" for setting, change in how.items()]
            elif path not in restored:
                found.append(f"{path} is {how}")
        lost = [path for path, how in self.changed_outs(stage).items() if how == LOST]
        return found + [f"{path} is missing from DVC's cache" for path in lost]

    def changed_settings(self, stage: str) -> list[str]:
        """Each setting that a stage depends on and that differs from when it last ran: ``train.epochs: 2 -> 3``."""
        before = self.lock.get(stage, {}).get("params", {}).get(str(PARAMS), {})
        settings = _flat(YAML(typ="safe").load(PARAMS))
        old = _flat(before)
        new = {
            name: value for name, value in settings.items() if any(name.startswith(f"{section}.") for section in before)
        }
        return [
            f"{name}: {old.get(name, 'none')} -> {new.get(name, 'none')}"
            for name in {**old, **new}
            if old.get(name) != new.get(name)
        ]

    def changed_outs(self, stage: str) -> dict[str, str]:
        """Outputs that are not as DVC left them, and what happened to each, in DVC's words."""
        return self._changed(stage, "changed outs")

    def _changed(self, stage: str, part: str) -> dict[str, Any]:
        parts = [change.get(part, {}) for change in self.changes.get(stage, []) if isinstance(change, dict)]
        return {path: how for each in parts for path, how in each.items()}

    def _recorded(self, stage: str, part: str) -> list[tuple[str, str | None]]:
        """Path and MD5 of what a stage read (``deps``) or wrote (``outs``) when it last ran."""
        return [(entry["path"], entry.get("md5")) for entry in self.lock.get(stage, {}).get(part, [])]


def _flat(settings: Any, prefix: str = "") -> dict[str, Any]:
    """Nested settings by their dotted names."""
    if not isinstance(settings, dict):
        return {prefix.removesuffix("."): settings}
    return {name: value for key, below in settings.items() for name, value in _flat(below, f"{prefix}{key}.").items()}
