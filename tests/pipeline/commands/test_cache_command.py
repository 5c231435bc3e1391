import json
import sys

from conftest import Finished, Project, write_waveforms

from pipeline.shell.results import Results


def features(project: Project, *arguments: str) -> Finished:
    return project.run(sys.executable, "-m", "pipeline.commands.features", *arguments)


def test_trainings_are_shown_pruned_and_cleared(project: Project) -> None:
    (project.folder / "data/split").mkdir(parents=True)
    write_waveforms(project.folder / "data/split/test.zarr", 40)
    assert project.stage("featurize", "test").code == 0
    kept = Results(project.folder / ".cache/results")
    for key in ("a" * 32, "b" * 32):
        kept.keep(key, {"params.yaml": project.folder / "params.yaml"})
    size = kept.usage().bytes
    training = project.folder / ".cache/training"
    training.mkdir()
    for name in ("base.aa.npz", "skip.bb.npz"):
        (training / name).write_bytes(bytes(2_000_000))
    own = kept.folder / "own.zip"
    own.write_text("mine")

    found = json.loads(features(project, "cache", "show", "--json").out)
    assert (found["results"], found["results_bytes"]) == (2, size)
    assert found["results_folder"] == str(kept.folder)
    assert found["shards"] == 2
    lines = features(project, "cache", "show").out.splitlines()
    assert lines[1] == f"cache: 2 trainings and evaluations, 0 MB in {kept.folder}"
    assert lines[2] == f"cache: 2 checkpoints, 4 MB in {training}"
    assert (found["checkpoints"], found["checkpoints_bytes"]) == (2, 4_000_000)

    done = features(project, "cache", "prune", "--results-size", f"{size * 0.75 / 1000}k")
    assert done.out.splitlines() == [
        "cache: removed 0 shards, 0 MB",
        "cache: removed 1 trainings and evaluations, 0 MB",
        "cache: removed 2 checkpoints, 4 MB",
    ]
    (training / "base.aa.npz").write_bytes(bytes(2_000_000))
    assert features(project, "cache", "prune", "--results-size", "much").code == 2
    assert kept.usage().entries == 1
    done = features(project, "cache", "clear")
    assert done.out.splitlines()[1] == "cache: removed 1 trainings and evaluations, 0 MB"
    assert done.out.splitlines()[2] == "cache: removed 1 checkpoints, 2 MB"
    assert own.read_text() == "mine"
    assert kept.entries() == []
