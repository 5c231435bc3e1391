"""Command ``features browse``: leaf through the clips of a store in a browser, hear and mark them."""

import threading
import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from features.errors import InputError
from features.split.marks import read_marks
from features.split.sets import SETS
from features.store.reader import Store, open_store
from models.predictions import Predictions, read_predictions
from pipeline.pages.runs import is_of
from pipeline.shell.params import MARKS_FILE
from pipeline.shell.stage import counted, say, warn


def command(
    store: Annotated[Path, typer.Argument(help="A store, such as data/features/test.zarr; or a folder of them.")],
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes one that is free.")] = 0,
    show: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
) -> None:
    """Leaf through clips in a browser: filter and sort them, see and hear each, mark wrong labels and bad audio.

    Marks are saved in marks.tsv; the next dvc repro leaves out clips marked as wrong label or bad audio.
    """
    stores = _stores(store)
    project = next((folder for folder in store.absolute().parents if (folder / "dvc.yaml").is_file()), Path.cwd())
    marks = project / MARKS_FILE
    read_marks(marks)  # so that a file that cannot be read is told of at once

    from features.look.siblings import features_of, waveforms_of
    from pipeline.pages.server import Server  # matplotlib is slow to import
    from pipeline.pages.shelf import Shelf, Shelved

    shelf = Shelf(
        {
            name: Shelved(each, waveforms_of(each), features_of(each), _predictions(project, each))
            for name, each in stores.items()
        }
    )
    try:
        server = Server(shelf, marks, port)
    except OSError as error:
        raise InputError(f"port {port} cannot be used ({error.strerror}); leave out --port for a free one") from None
    measuring = threading.Thread(target=shelf.measure, args=(server.stopped,), daemon=True)
    with server:
        measuring.start()
        say(f"browse: {counted(shelf.clips, 'clip')} at {server.address} (Ctrl-C ends it; marks go to {marks})")
        if show:
            webbrowser.open(server.address)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            pass
        finally:
            server.stopped.set()
            measuring.join()
    marked = read_marks(marks)
    say(f"browse: {counted(len(marked), 'clip')} marked in {marks}" if marked else "browse: no clip is marked")


def _stores(path: Path) -> dict[str, Store]:
    """The store, or all stores of a folder, by name; the sets of the pipeline in their order."""
    inside = [] if path.suffix == ".zarr" else sorted(path.glob("[!.]*.zarr"))  # hidden ones are unfinished
    found = {each.stem: each for each in inside or [path]}
    ordered = [*(name for name in SETS if name in found), *(name for name in found if name not in SETS)]
    stores: dict[str, Store] = {name: open_store(found[name]) for name in ordered}
    words = {tuple(each.attributes["words"]) for each in stores.values()}
    if len(words) > 1:
        raise InputError(f"the stores in {path} have different words; expected one corpus, so give a single store")
    return stores


def _predictions(project: Path, store: Store) -> dict[str, Predictions]:
    """What networks predict for the clips of a store, by the name of the network."""
    found = {}
    for path in sorted(project.glob("artifacts/*/predictions.csv")):
        try:
            predictions = read_predictions(path)
        except ValueError as error:
            warn(
                f"{path} cannot be read ({error}); to make it again, run dvc repro --force evaluate@{path.parent.name}"
            )
            continue
        if is_of(predictions, store):
            found[path.parent.name] = predictions
    return found
