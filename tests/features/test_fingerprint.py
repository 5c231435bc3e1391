import ast
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import numpy as np
import pytest
from conftest import ROOT

from features.fingerprint import (
    CODE,
    LIBRARIES,
    WAVEFORM_CODE,
    code_of,
    current_version,
    settings_hash,
    shard_key,
)
from features.spectrogram import FeatureSpec
from features.store.layout import StoreSpec

SPEC = FeatureSpec(kind="magnitude", n_fft=258, hop_length=64, window="hann")
LAYOUT = StoreSpec(dtype="float32", chunk_clips=8, shard_clips=32, codec="lz4")

BEFORE = '''
"""Module."""
SIZE = 4
"""How large."""

def f(a):
    """Add one."""
    return a + SIZE  # why
'''

# an edit                                                    | does it change what is computed
EDITS = [
    (("# why", "# because"), False),
    (('"""Add one."""', '"""Adds one.\n\n    At length.\n    """'), False),
    (('"""How large."""\n', ""), False),
    (('    """Add one."""\n', ""), False),
    (("a + SIZE", "(a +\n            SIZE)"), False),
    (("SIZE = 4", "SIZE = 5"), True),
    (("a + SIZE", "a - SIZE"), True),
    (("return", "a = 'x'; return"), True),
]


@pytest.mark.parametrize(("edit", "changes"), EDITS)
def test_only_code_counts(edit: tuple[str, str], changes: bool) -> None:
    after = BEFORE.replace(*edit)
    assert after != BEFORE
    assert (code_of(BEFORE) != code_of(after)) is changes


def test_modules_do_not_run_into_each_other(tmp_path: Path) -> None:
    for name, source in (("first_", "a = 1"), ("second_", "b = 2"), ("both_", "a = 1\nb = 2")):
        (tmp_path / f"{name}.py").write_text(source)
    time.sleep(0.05)  # what is as young as the process is refused, because it may have been edited while this ran
    script = (
        "import sys; from features.fingerprint import code_fingerprint as f\n"
        "print(len({f(['first_', 'second_']), f(['second_', 'first_']), f(['both_'])}), 'both_' in sys.modules)"
    )
    env = {"PYTHONPATH": f"{tmp_path}:{ROOT}"}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=env)
    assert done.stdout.split() == ["3", "False"], "three fingerprints, of modules that were not imported"


@pytest.mark.parametrize(
    ("code", "start"),
    [
        (CODE, {"features.featurize", "features.store.reader", "features.store.shard"}),
        (WAVEFORM_CODE, {"features.store.shard"}),
    ],
)
def test_the_code_is_all_that_makes_a_shard(code: tuple[str, ...], start: set[str]) -> None:
    """All of ours that reading waveforms, computing and writing a shard imports, but for what changes no value."""
    short = ("build", "errors", "fingerprint", "store.cache", "store.manifest", "store.writer")
    others = {f"features.{name}" for name in short}
    seen: set[str] = set()
    waiting = set(start)
    while waiting:
        name = waiting.pop()
        seen.add(name)
        tree = ast.parse((ROOT / f"{name.replace('.', '/')}.py").read_text())
        imported = {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        waiting |= {module for module in imported if module.startswith("features.")} - seen - others
    assert sorted(seen) == list(code)


def test_the_hash_tells_settings_and_versions_apart() -> None:
    version = current_version()
    others = [
        version,
        msgspec.structs.replace(version, code="0"),
        msgspec.structs.replace(version, libraries={**version.libraries, "ducc0": "9"}),
    ]
    hashes = {
        settings_hash(msgspec.structs.replace(SPEC, **feature).used, rate_hz, layout, made_by)
        for feature in ({}, {"n_fft": 512}, {"window": "hamming"})
        for rate_hz in (8000, 16000)
        for layout in (LAYOUT, msgspec.structs.replace(LAYOUT, dtype="float16"))
        for made_by in others
    }
    assert len(hashes) == 36


def test_a_key_tells_clips_and_their_order_apart() -> None:
    digests = np.arange(64, dtype=np.uint8).reshape(4, 16)
    keys = {
        shard_key(settings, rows)
        for settings in ("a", "b")
        for rows in (digests, digests[::-1], digests[:3], digests + 1)
    }
    assert len(keys) == 8


def test_an_upgraded_library_is_another_version(tmp_path: Path) -> None:
    """The real thing: metadata of another numpy comes first on the path."""
    info = tmp_path / "numpy-9.9.9.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: numpy\nVersion: 9.9.9\n")
    script = "from features.fingerprint import current_version as v; print(v().libraries['numpy'])"
    command = [sys.executable, "-c", script]
    path = f"{tmp_path}:{ROOT}"
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={"PYTHONPATH": path})
    assert done.stdout.strip() == "9.9.9"
    assert set(LIBRARIES) == set(current_version().libraries)
