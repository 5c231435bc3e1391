"""The command ``models``: using a trained network on recordings, taking it elsewhere, scoring it."""

import typer

from pipeline.commands.models import explain, export, predict, score, seeds
from pipeline.shell.stage import errors_as_sentences

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Trained networks: recognise words in recordings, take a network elsewhere, score it on other recordings.",
    epilog="The word in a recording, by the best network:\n\nmodels predict recording.wav",
)
app.command("predict")(predict.command)
app.command("explain")(explain.command)
app.command("export")(export.command)
app.command("score")(score.command)
app.command("seeds")(seeds.command)


def main() -> None:
    """Run the command."""
    with errors_as_sentences():
        app()


if __name__ == "__main__":
    main()
