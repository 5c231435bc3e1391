"""The command ``features``: looking into cached features, checking them, knowing what will be computed."""

import typer

from pipeline.commands.features import browse, cache, diff, explain, inspect, verify
from pipeline.shell.stage import errors_as_sentences

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Cached features: look into them, hear them, check them, compare them, and know what will be computed.",
    epilog="See and hear the clips of a set, in a browser:\n\nfeatures browse data/features/test.zarr\n\n"
    "Three clips of a word, as files:\n\nfeatures inspect data/features/train.zarr --word yes --sample 3",
)
app.command("inspect")(inspect.command)
app.command("browse")(browse.command)
app.command("verify")(verify.command)
app.command("explain")(explain.command)
app.command("diff")(diff.command)
app.add_typer(cache.app, name="cache", no_args_is_help=True)


def main() -> None:
    """Run the command."""
    with errors_as_sentences():
        app()


if __name__ == "__main__":
    main()
