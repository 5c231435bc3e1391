"""Command ``models explain``: which networks ``dvc repro`` would train and score, why, and how long training takes."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from features.errors import InputError
from features.store.shard import checksum
from models.training.checkpoint import Checkpoint
from models.training.course import Position
from pipeline import evaluate
from pipeline.commands.dvc_status import DvcStatus
from pipeline.commands.models.upcoming import Upcoming, upcoming_features
from pipeline.shell.params import PARAMS, DataSpec, read_networks, read_section
from pipeline.shell.progress import duration
from pipeline.shell.recipe import Recipe
from pipeline.shell.results import Checkpoints, Results
from pipeline.shell.stage import PACKAGES, counted, say
from pipeline.shell.times import read_pace
from pipeline.shell.training import ESTIMATE_S

MODIFIED = " is modified"
"""DVC's words for an input with other contents."""

Training = Literal["none", "kept", "resumes", "trains"]


@dataclass(frozen=True)
class Answer:
    """What ``dvc repro`` would do with a network."""

    training: Training
    """Nothing; take a finished one that is kept; go on from a checkpoint; or begin."""
    evaluated: bool
    """Whether it would be scored on the test set."""
    finished_epochs: int
    """Those of the checkpoint."""
    epochs: int
    """With which training ends, unless early stopping ends it before."""
    seconds: float | None
    """Of training; None if the network never trained here with settings and features of this size."""
    why: list[str]


def command(
    name: Annotated[
        str | None, typer.Argument(metavar="[NETWORK]", help="A name under models in params.yaml; all by default.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print it for programs.")] = False,
) -> None:
    """Before running: which networks `dvc repro` would train, go on with or take from a cache, why, and how long."""
    known = read_networks()
    if name is not None and name not in known:
        raise InputError(f"there is no network {name!r} in {PARAMS}; expected one of {', '.join(known)}")
    recipes = [Recipe.read(each) for each in ([name] if name else known)]
    status = DvcStatus.read(f"evaluate@{recipe.model}" for recipe in recipes)
    features = upcoming_features(status)
    answers = {recipe.model: _explain(recipe, status, features) for recipe in recipes}
    if as_json:
        say(json.dumps({model: asdict(answer) for model, answer in answers.items()}, indent=2, ensure_ascii=False))
    else:
        _print(answers)


def _explain(recipe: Recipe, status: DvcStatus, features: dict[str, Upcoming]) -> Answer:
    model, own = recipe.model, recipe.network.train
    train, validation, test = (features[name] for name in ("train", "validation", "test"))
    why = _reasons(f"train@{model}", status, own)
    new = [f"its features {change}" for change in train.changes or validation.changes]
    network, at = _network(model), Position(())
    training: Training = "trains"
    if new:
        why = [*[reason for reason in why if not reason.startswith("data/")], *new]
    elif not why:
        training = "none"
        why = [f"the test set's features {change}" for change in test.changes] or _reasons(
            f"evaluate@{model}", status, recipe.network.train
        )
    elif not train.store or not validation.store:
        why.append("its features have to be restored to tell whether it is kept; run dvc checkout")
    else:
        prints = recipe.fingerprints(train.store, validation.store)
        kept, checkpoints = Results.of_project().digest(prints.result, "model.keras"), Checkpoints.of_project()
        others = checkpoints.of_network(model)
        reached = Checkpoint(checkpoints.path(model, prints.result), prints.course, others=others).load(recipe.spec)
        if kept:
            training, network = "kept", kept
        elif reached:
            training, at = "resumes", reached[0]
    is_trained = training in ("trains", "resumes")
    is_scored = is_trained or bool(test.changes) or (bool(why) and not _is_score_kept(network, test))
    if training == "none" and not why:
        outs = status.changed_outs(f"train@{model}") | status.changed_outs(f"evaluate@{model}")
        why = [f"{out} is {how}; DVC restores it" for out, how in outs.items()]
    seconds = _seconds(recipe, train, validation, at) if is_trained else 0.0
    return Answer(training, is_scored, len(at.history), recipe.spec.last_epoch, seconds, why)


def _is_score_kept(network: str | None, test: Upcoming) -> bool:
    """Whether a network was scored on these features before."""
    if network is None or test.store is None:
        return False
    return (
        Results.of_project().find(evaluate.fingerprint(network, test.store, read_section("data", DataSpec))) is not None
    )


def _network(model: str) -> str | None:
    """Digest of a trained network that is there."""
    path = Path("artifacts", model, "model.keras")
    return checksum(path).digest if path.is_file() else None


def _noted(setting: str, own: Mapping[str, Any]) -> str:
    """A change of the settings that all networks share, with the remark that a network has its own."""
    name = setting.partition(":")[0]
    has_own = name.startswith("train.") and name.split(".")[1] in own
    return f"{setting} (it has its own)" if has_own else setting


def _reasons(stage: str, status: DvcStatus, own: Mapping[str, Any]) -> list[str]:
    """Why DVC runs a stage: settings from what to what, code in one line."""
    reasons = status.reasons(stage)
    settings = [_noted(setting, own) for setting in status.changed_settings(stage)]
    code = [reason.removesuffix(MODIFIED) for reason in reasons if reason.split("/")[0] in PACKAGES]
    others = [
        reason
        for reason in reasons
        if reason.split("/")[0] not in PACKAGES and not (settings and f" in {PARAMS}{MODIFIED}" in reason)
    ]
    return [*settings, *([f"the code changed: {', '.join(code)}"] if code else []), *others]


def _seconds(recipe: Recipe, train: Upcoming, validation: Upcoming, at: Position) -> float | None:
    """How long a training takes from a position on, as fast as the network's last one."""
    pace = read_pace(recipe.model)
    if not pace or not train.clips or not validation.clips or not train.shape:
        return None
    if pace.speed != recipe.speed(train.shape):
        return None
    steps = max(1, train.clips // recipe.spec.batch_size)
    epochs = recipe.spec.last_epoch - len(at.history) - at.step / steps
    clips = steps * recipe.spec.batch_size + validation.clips
    return round(pace.start_s + epochs * pace.epoch_s * clips / pace.clips, 1)


def _print(answers: dict[str, Answer]) -> None:
    for model, answer in answers.items():
        say(f"{model}: {_line(answer)}")
        for reason in answer.why:
            say(f"  {'because' if answer.training != 'none' or answer.evaluated else 'although'} {reason}")
    trained = {model: answer.seconds for model, answer in answers.items() if answer.training in ("trains", "resumes")}
    seconds = [each for each in trained.values() if each is not None]
    if len(trained) > 1 and seconds:
        unknown = ", ".join(model for model, each in trained.items() if each is None)
        say(f"together: about {duration(sum(seconds))}{f', without {unknown}' if unknown else ''}")


def _line(answer: Answer) -> str:
    scored = " and is evaluated" if answer.evaluated else ""
    if answer.training == "none":
        if answer.evaluated:
            return "nothing to train, but is evaluated"
        return "nothing to compute" if answer.why else "nothing to run"
    if answer.training == "kept":
        return f"takes a finished training that is kept{scored}"
    what = f"trains {counted(answer.epochs, 'epoch')}"
    if answer.training == "resumes":
        what = f"goes on in epoch {answer.finished_epochs + 1} of {answer.epochs}"
        if answer.finished_epochs >= answer.epochs:
            what = f"ends with epoch {answer.epochs}, which it has reached,"
    how_long = f"tells its time after {ESTIMATE_S:.0f} s"
    if answer.seconds is not None:
        how_long = f"about {duration(answer.seconds)}"
    return f"{what}{scored}; {how_long}"
