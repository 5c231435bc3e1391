"""Stage ``evaluate@<network>``: score one network on the test set, which no training step saw.

A finished evaluation is kept under everything that decided it. A run whose evaluation is kept publishes it again,
without loading TensorFlow.
"""

import json
import zipfile
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from features.errors import InputError
from features.store.publish import publish
from features.store.reader import FeatureStore
from features.store.shard import checksum
from models.predictions import write_predictions
from pipeline.shell.options import parse_size
from pipeline.shell.params import DataSpec, read_section, refuse_edited_settings
from pipeline.shell.progress import progress, working
from pipeline.shell.results import DEFAULT_SIZE, Results, Size, result_key
from pipeline.shell.stage import refuse_edited_code, run, say, warn_waiting

TEST = Path("data/features/test.zarr")
BATCH_CLIPS = 64
CODE = (
    "features.stream.batches",
    "features.stream.order",
    "models.cost",
    "models.evaluation",
    "models.predict",
    "models.predictions",
    "models.saved",
    "pipeline.evaluate",
)
"""Modules that decide metrics and predictions, beside the network and the features."""
LIBRARIES = ("keras", "numpy", "scikit-learn", "scipy", "tensorflow")


def main(
    model: Annotated[str, typer.Argument(help="A name under models in params.yaml.")],
    cache_size: Size = DEFAULT_SIZE,
) -> None:
    """Write metrics/<model>.json and artifacts/<model>/predictions.csv from artifacts/<model>/model.keras."""
    max_bytes = parse_size(cache_size)
    trained = Path("artifacts", model, "model.keras")
    if not trained.is_file():
        raise InputError(f"{trained} does not exist; expected a trained network, so run dvc repro train@{model} first")
    if not zipfile.is_zipfile(trained):
        raise _not_a_network(trained, "cannot be loaded as a network (it is not a zip file)")
    data = read_section("data", DataSpec)
    metrics = Path(f"metrics/{model}.json")
    results = Results.of_project()
    with publish(metrics, trained.with_name("predictions.csv"), waiting=warn_waiting) as staged:
        store = FeatureStore.open(TEST)
        files = dict(zip(("metrics.json", "predictions.csv"), staged, strict=True))
        key = fingerprint(checksum(trained).digest, store, data)
        known = results.take(key, files)
        if not known:
            _evaluate(trained, store, data, *staged)
        refuse_edited_settings({"data": data})
        refuse_edited_code()
        if not known and max_bytes:
            results.keep(key, files)
    results.prune(max_bytes)
    result = json.loads(metrics.read_text(encoding="utf-8"))
    say(
        f"evaluate: {model}{' was evaluated before and' if known else ''} is right on {result['accuracy']:.1%} of "
        f"{result['test_clips']} test clips (95% interval {result['interval']})"
        f"{'' if result['speakers_known'] else '; speakers unknown, so training may have heard the same voices'}"
    )


def fingerprint(network: str, store: FeatureStore, data: DataSpec) -> str:
    """Fingerprint of all that decides an evaluation, given the digest of the network: 32 hexadecimal digits."""
    decided_by = [network, store.attributes["spec_hash"], store.attributes["source_digest"]]
    about = [store.attributes["words"], store.attributes["speakers_known"], store.recordings.tolist(), data.npz]
    return result_key([decided_by, about], CODE, LIBRARIES)


def _evaluate(trained: Path, store: FeatureStore, data: DataSpec, metrics: Path, table: Path) -> None:
    """Classify the clips of a store; write metrics as JSON and predictions as CSV."""
    with working(f"{trained.parent.name}: loading TensorFlow and the network"):
        from features.stream.batches import damage_as_input_error, scoring_batches
        from models.cost import cost_of
        from models.evaluation import predict, score
        from models.predict import predictor_of
        from models.saved import SavedError, load_keras

        try:
            network = load_keras(trained)
        except SavedError as error:
            raise _not_a_network(trained, str(error)) from None
    with damage_as_input_error(), progress(f"evaluating {trained.parent.name}", store.clips) as advance:
        log_probabilities = predict(network, scoring_batches(store.path, BATCH_CLIPS), advance)
    words = store.attributes["words"]
    cost = cost_of(network, predictor_of(network), (*store.shape, 1), store.attributes["clip_seconds"])
    scores = score(store.labels, log_probabilities, words)
    low, high = scores["accuracy_ci95"]
    result = {  # DVC's table shows numbers and texts in this order, and no lists
        "accuracy": scores["accuracy"],
        "interval": f"{low:.1%} to {high:.1%}",
        **scores,
        "npz": data.npz,
        "speakers_known": store.attributes["speakers_known"],
        "cost": [{**cost, "file_bytes": trained.stat().st_size}],  # a list, as score does
    }
    metrics.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    write_predictions(table, store.source_rows, store.recordings, store.labels, np.exp(log_probabilities), words)


def _not_a_network(trained: Path, why: str) -> InputError:
    return InputError(f"{trained} {why}; run dvc repro --force train@{trained.parent.name} to make it again")


if __name__ == "__main__":
    run(main)
