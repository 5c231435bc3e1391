"""What `dvc repro` of the features costs: from an npz alone, with nothing to do, after changes that are to be cheap.

    uv run python benchmarks/rerun.py                       # 50,620 clips; DVC's run cache is off throughout
    uv run python benchmarks/rerun.py --against ../before   # and another checkout of the product, in the same run
    uv run python benchmarks/rerun.py --clips 5000 --folder /scratch

Products take turns, run by run, because machines do not keep their speed. The run from nothing is done before and after
everything else; shares are of the mean of both. Before each run the disk is left to write what earlier ones gave it.
"""

import argparse
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parent.parent
NPZ = "speech_wav_8000.npz"
TRANSFORMS = ("features/spectrogram.py", "features/transform.py")
"""The transform's module, now and in earlier versions."""


def make_repository(product: Path, folder: Path, clips: int) -> None:
    """A copy of a product under git and DVC, and a user's npz."""
    ignore = shutil.ignore_patterns("__pycache__", "cache", "tmp", "*.local", "dvc.lock")
    for name in ("pipeline", "features", "models", ".dvc"):
        if (product / name).exists():
            shutil.copytree(product / name, folder / name, ignore=ignore)
    for name in ("dvc.yaml", "params.yaml", "marks.tsv", ".gitignore", ".dvcignore"):
        if (product / name).exists():
            shutil.copy(product / name, folder / name)
    set_param(folder, "synthesize", "clips", clips)
    run(folder, "pipeline.synthesize")
    (folder / "data/demo/speech_wav_8000.npz").rename(folder / NPZ)
    set_param(folder, "data", "npz", NPZ)
    for command in ("init -q", "config user.email benchmark@example.org", "config user.name benchmark"):
        subprocess.run(["git", *command.split()], cwd=folder, check=True)
    subprocess.run(["git", "add", "--all"], cwd=folder, check=True)
    subprocess.run(["git", "commit", "-q", "-m", "start"], cwd=folder, check=True)


def set_param(folder: Path, section: str, name: str, value: object) -> None:
    """Change one setting."""
    yaml = YAML(typ="safe")
    params = yaml.load(folder / "params.yaml")
    params[section][name] = value
    yaml.dump(params, folder / "params.yaml")


def comment(folder: Path, *names: str) -> None:
    """Add a comment to the first of these modules that there is."""
    path = next(folder / name for name in names if (folder / name).exists())
    path.write_text(path.read_text() + "\n# A comment.\n")


def run(folder: Path, *command: str) -> tuple[float, str]:
    """Run a module of the product in a folder and time it."""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # with it every stage compiles every module anew
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    return time.perf_counter() - started, done.stdout


def repro(folder: Path) -> tuple[float, int]:
    """Bring features up to date: seconds, and shards made."""
    os.sync()
    seconds, out = run(folder, "dvc", "repro", "--no-run-cache", "featurize")
    return seconds, sum(int(count) for count in re.findall(r"(\d+) shards (?:computed|written)", out))


def forget(folder: Path) -> None:
    """Remove whatever runs left, compiled code too, and make the npz a file that DVC does not know."""
    for path in [*folder.rglob("__pycache__"), *map(folder.joinpath, ("data", ".cache", ".dvc/cache"))]:
        shutil.rmtree(path, ignore_errors=True)
    (folder / "dvc.lock").unlink(missing_ok=True)
    os.utime(folder / NPZ)


STEPS: dict[str, tuple[Callable[[Path], object], bool]] = {
    "from an npz": (forget, False),
    "nothing to do": (lambda folder: None, True),
    "a comment in the transform's module": (lambda folder: comment(folder, *TRANSFORMS), True),
    "n_fft 258 to 512": (lambda folder: set_param(folder, "features", "n_fft", 512), False),
    "n_fft 512 back to 258": (lambda folder: set_param(folder, "features", "n_fft", 258), False),
    "from an npz, at the end": (forget, False),
}
"""What is changed before a run, and whether it is done several times."""


def measure(products: list[Path], scratch: Path, clips: int, repeats: int) -> None:
    """Measure in a folder and print."""
    folders = {product: scratch / str(number) for number, product in enumerate(products)}
    for product, folder in folders.items():
        folder.mkdir()
        make_repository(product, folder, clips)
    taken: dict[Path, dict[str, list[tuple[float, int]]]] = {product: {} for product in products}
    for step, (change, cheap) in STEPS.items():
        for _ in range(repeats if cheap else 1):
            for product, folder in folders.items():
                change(folder)
                taken[product].setdefault(step, []).append(repro(folder))
    for product, steps in taken.items():
        cold = statistics.mean(steps[step][0][0] for step in STEPS if step.startswith("from"))
        print(f"\n{product.name}, {clips:,} clips")
        for step, runs in steps.items():
            seconds = statistics.median(seconds for seconds, _ in runs)
            print(f"{step:40} {seconds:6.1f} s {seconds / cold:8.1%}  {runs[0][1]:4} shards made")


def main() -> None:
    """Measure and print."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--clips", type=int, default=50_620)
    arguments.add_argument("--repeats", type=int, default=5, help="runs of what is cheap; the median is told")
    arguments.add_argument("--folder", type=Path, help="where to put the data; a temporary folder by default")
    arguments.add_argument("--against", type=Path, action="append", default=[], help="another checkout to measure")
    chosen = arguments.parse_args()
    with tempfile.TemporaryDirectory(dir=chosen.folder) as name:
        measure([ROOT, *map(Path.resolve, chosen.against)], Path(name), chosen.clips, chosen.repeats)


if __name__ == "__main__":
    main()
