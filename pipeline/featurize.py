"""Stage ``featurize@<set>``: compute the features of one set, shard by shard, in parallel."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from features.featurize import featurize
from features.publish import publish
from features.store import StoreSpec, WaveformStore
from features.transform import FeatureSpec
from pipeline.params import read_section
from pipeline.progress import progress
from pipeline.stage import default_workers, run, say


def main(
    name: Annotated[Literal["train", "validation", "test"], typer.Argument(help="The set to featurize.")],
    workers: Annotated[int, typer.Option(envvar="WORKERS", min=1, help="Threads.")] = default_workers(),
) -> None:
    """Write data/features/<set>.zarr from data/split/<set>.zarr with the settings of features and store."""
    spec = read_section("features", FeatureSpec)
    layout = read_section("store", StoreSpec)
    waveforms = Path(f"data/split/{name}.zarr")
    target = Path(f"data/features/{name}.zarr")
    clips = WaveformStore.open(waveforms).clips
    with publish(target) as (aside,), progress(f"featurizing {name}", clips) as advance:
        featurize(waveforms, aside, spec, layout, workers=workers, advance=advance)
    say(f"featurize: {clips} clips of {name}, each {spec.shape[0]} x {spec.shape[1]} -> {target}")


if __name__ == "__main__":
    run(main)
