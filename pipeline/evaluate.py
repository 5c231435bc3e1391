"""Stage ``evaluate@<model>``: score one network on the test set, which no training step saw."""

import csv
import json
from pathlib import Path
from typing import Annotated

import typer

from features.errors import InputError
from features.store.publish import publish
from features.store.reader import FeatureStore
from features.stream.batches import damage_as_input_error, scoring_batches
from models.evaluation import answer, load, score
from pipeline.shell.stage import note_waiting, refuse_edited_code, run, say

TEST = Path("data/features/test.zarr")
BATCH_CLIPS = 64


def main(model: Annotated[str, typer.Argument(help="A name under models in params.yaml.")]) -> None:
    """Write metrics/<model>.json and artifacts/<model>/predictions.csv from artifacts/<model>/model.keras."""
    trained = Path("artifacts", model, "model.keras")
    if not trained.is_file():
        raise InputError(f"{trained} does not exist; expected a trained network, so run dvc repro train@{model} first")
    try:
        network = load(trained)
    except ValueError as error:
        raise InputError(
            f"{trained} cannot be loaded as a network ({error}); run dvc repro --force train@{model} to train it anew"
        ) from None
    store = FeatureStore.open(TEST)
    words = store.attributes["words"]
    labels, rows = store.labels, store.source_rows
    with damage_as_input_error():
        answers = answer(network, scoring_batches(TEST, BATCH_CLIPS))
    result = score(labels, answers, words)
    predictions = trained.with_name("predictions.csv")
    metrics = Path(f"metrics/{model}.json")
    with publish(metrics, predictions, waiting=note_waiting) as (metrics_aside, predictions_aside):
        metrics_aside.write_text(json.dumps(result, indent=2) + "\n")
        with open(predictions_aside, "w", newline="") as file:
            table = csv.writer(file)
            table.writerow(["source_row", "actual", "predicted", "confidence"])
            for row, label, guess, confidence in zip(rows, labels, answers.predicted, answers.confidence, strict=True):
                table.writerow([row, words[label], words[guess], f"{confidence:.6f}"])
        refuse_edited_code()
    low, high = result["accuracy_ci95"]
    say(
        f"evaluate: {model} is right on {result['accuracy']:.1%} of {len(labels)} test clips "
        f"(95% interval {low:.1%} to {high:.1%})"
    )


if __name__ == "__main__":
    run(main)
