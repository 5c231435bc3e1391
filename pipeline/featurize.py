"""Stage ``featurize@<set>``: compute the features of one set, shard by shard, in parallel."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from features.featurize import featurize
from features.spectrogram import FeatureSpec
from features.store.layout import StoreSpec
from features.store.publish import publish
from features.store.reader import WaveformStore
from pipeline.shell.options import DEFAULT_SIZE, Folder, Size, parse_size, shard_cache
from pipeline.shell.params import read_section, refuse_edited_settings
from pipeline.shell.progress import progress
from pipeline.shell.stage import counted, default_workers, refuse_edited_code, run, say, warn_waiting


def main(
    name: Annotated[Literal["train", "validation", "test"], typer.Argument(help="The set to featurize.")],
    workers: Annotated[int, typer.Option(envvar="WORKERS", min=1, help="Threads.")] = default_workers(),
    scheduler: Annotated[
        str | None,
        typer.Option(envvar="SCHEDULER", help="Compute on the workers of this dask scheduler: tcp://host:port."),
    ] = None,
    cache_folder: Folder = None,
    cache_size: Size = DEFAULT_SIZE,
) -> None:
    """Write data/features/<set>.zarr from data/split/<set>.zarr with the settings of features and store."""
    spec = read_section("features", FeatureSpec)
    layout = read_section("store", StoreSpec)
    limit = parse_size(cache_size)
    cache = shard_cache(cache_folder)
    waveforms = Path(f"data/split/{name}.zarr")
    target = Path(f"data/features/{name}.zarr")
    source = WaveformStore.open(waveforms)
    clips, (bins, frames) = source.clips, spec.shape(*source.shape)
    with (
        publish(target, waiting=warn_waiting) as (aside,),
        progress(f"featurizing {name}", clips) as advance,
    ):
        outcomes = featurize(
            waveforms, aside, spec, layout, cache, workers=workers, scheduler=scheduler, advance=advance
        )
        refuse_edited_settings({"features": spec, "store": layout})
        refuse_edited_code()
    reused = sum(outcome.reused for outcome in outcomes)
    cache.prune(limit)
    say(
        f"featurize: {clips} clips of {name}, each {bins} x {frames}, {counted(len(outcomes) - reused, 'shard')} "
        f"computed, {reused} reused -> {target}"
    )


if __name__ == "__main__":
    run(main)
