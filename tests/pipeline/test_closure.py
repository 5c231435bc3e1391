"""Each stage's deps in dvc.yaml are the modules and packages it imports, directly or not."""

import ast
from pathlib import Path

import pytest
from conftest import ROOT
from ruamel.yaml import YAML

STAGES = {name: stage.get("do", stage) for name, stage in YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"].items()}
PACKAGES = ("pipeline", "features", "models")


def files_of(module: str) -> list[Path]:
    """The file of a module and those of the packages that it lies in; none if it is not ours."""
    parts = module.split(".")
    if parts[0] not in PACKAGES:
        return []
    files = [ROOT.joinpath(*parts[:depth], "__init__.py") for depth in range(1, len(parts) + 1)]
    own = ROOT.joinpath(*parts).with_suffix(".py")
    return [file for file in [*files, own] if file.is_file()]


def imports_of(file: Path) -> set[Path]:
    found: set[Path] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative imports are not followed"
            names = [str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        for name in names:
            found.update(files_of(name))
    return found


def closure(module: str) -> set[str]:
    waiting, seen = set(files_of(module)), set()
    while waiting:
        file = waiting.pop()
        seen.add(file)
        waiting |= imports_of(file) - seen
    return {file.relative_to(ROOT).as_posix() for file in seen}


def covers(dependency: str, file: str) -> bool:
    return file == dependency or file.startswith(f"{dependency}/")


@pytest.mark.parametrize("stage", STAGES)
def test_deps_cover_the_import_closure_and_nothing_else(stage: str) -> None:
    """A folder stands for all modules in it; DVC hashes nothing else that may lie there (see .dvcignore)."""
    definition = STAGES[stage]
    used = closure(definition["cmd"].split()[2])
    declared = [dependency for dependency in definition["deps"] if dependency.split("/")[0] in PACKAGES]
    assert [file for file in sorted(used) if not any(covers(each, file) for each in declared)] == []
    assert [each for each in declared if not any(covers(each, file) for file in used)] == []
    assert declared == sorted(declared)
