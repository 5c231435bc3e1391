"""What decides a training: settings, features, code and libraries, and the fingerprints of all of them."""

from dataclasses import dataclass
from typing import Self

import msgspec
from msgspec.structs import replace

from features.errors import InputError
from features.store.reader import FeatureStore
from models.networks.front_end import FrontEnd
from models.networks.registry import DEFAULT_FAMILY, FAMILIES, family_of
from models.networks.transform import Transform
from models.saved import Description
from models.settings import NetworkSpec, Precision, TrainSpec
from models.training.course import course_of, without_end
from models.training.devices import count_replicas, precision_of
from pipeline.shell.params import changed, read_networks, read_section, read_variant, refuse_odd_name
from pipeline.shell.results import result_key

CODE = (
    "features.stream.order",
    "features.stream.batches",
    "models.training.course",
    "models.training.devices",
    "models.history",
    "models.networks.build",
    "models.networks.front_end",
    "models.networks.transform",
    "models.saved",
    "models.settings",
    "models.training.augment",
    "models.training.trainer",
    "models.training.loop",
    "pipeline.shell.recipe",
    "pipeline.train",
)
"""Modules that decide the weights, beside the features and those of the network's family."""
SPEEDLESS = {
    "class_weights", "dropout", "early_stopping", "epochs", "label_smoothing", "learning_rate", "precision", "schedule",
    "seed", "stop_after", "train", "weight_decay",
}  # fmt: skip
"""Settings that do not decide how long a clip takes; what precision comes to is asked for."""
LIBRARIES = ("keras", "librosa", "numpy", "scipy", "tensorflow")


@dataclass(frozen=True)
class Fingerprints:
    """Fingerprints of all that decides a training: 32 hexadecimal digits each."""

    endless: str
    """Of all but the number of epochs."""
    course: str
    """Of all that decides its steps: see :func:`models.training.course.course_of`."""
    result: str
    """Of all of it."""


@dataclass(frozen=True)
class Recipe:
    """The settings of a training, as params.yaml has them."""

    model: str
    shared: TrainSpec
    """Section ``train``."""
    network: NetworkSpec
    """Section ``models.<model>``."""
    spec: TrainSpec
    """What is shared, with what the network changes."""
    precision: Precision
    replicas: int

    @classmethod
    def read(cls, model: str) -> Self:
        """Read the sections ``train`` and ``models.<model>`` of params.yaml, and ask for the devices.

        Raises
        ------
        InputError
            If they are not valid.
        """
        shared, network = read_section("train", TrainSpec), read_network(model)
        spec = changed(shared, network.train, f"models.{model}.train")
        precision, replicas = precision_of(network, spec), count_replicas()
        if precision == "float16" and replicas > 1:
            raise InputError(
                "train.precision is float16, whose losses cannot be scaled on several GPUs; expected one GPU or "
                "another precision, so set it to bfloat16 or float32"
            )
        return cls(model, shared, network, spec, precision, replicas)

    def refuse_bad_others(self) -> None:
        """Fail if the settings of another network are not valid: better now than after this one has trained.

        Raises
        ------
        InputError
        """
        for model in read_networks():
            changed(self.shared, read_network(model).train, f"models.{model}.train")

    def setting(self, name: str) -> str:
        """Where a setting of its training is in params.yaml."""
        return f"models.{self.model}.train.{name}" if name in self.network.train else f"train.{name}"

    def speed(self, shape: tuple[int, int]) -> str:
        """Fingerprint of what decides how long it takes to train on a clip, with features of this shape."""
        settings = {**msgspec.to_builtins(self.network), **msgspec.to_builtins(self.spec)}
        decisive = {name: value for name, value in settings.items() if name not in SPEEDLESS}
        return result_key([decisive, self.precision, self.replicas, shape], (), ())

    def fingerprints(self, *stores: FeatureStore) -> Fingerprints:
        """Fingerprints of the training on the first of these stores of features."""
        settings = [
            msgspec.to_builtins(without_end(self.spec)),
            msgspec.to_builtins(replace(self.network, train={})),
            msgspec.to_builtins(describe(stores[0])),
            [self.precision, self.replicas],
            [[store.attributes["spec_hash"], store.attributes["source_digest"]] for store in stores],
        ]
        endless = result_key(settings, [*CODE, *family_of(self.network).code], LIBRARIES)
        course, result = (
            result_key([endless, msgspec.to_builtins(spec)], (), ()) for spec in (course_of(self.spec), self.spec)
        )
        return Fingerprints(endless, course, result)


def read_network(model: str) -> NetworkSpec:
    """Read section models.<model> of params.yaml.

    Raises
    ------
    InputError
        If it is not valid.
    """
    refuse_odd_name(model)
    return read_variant(f"models.{model}", {name: each.spec for name, each in FAMILIES.items()}, DEFAULT_FAMILY)


def describe(store: FeatureStore) -> Description:
    """What a network is for that learns from a store."""
    about = store.attributes
    return Description(
        words=tuple(about["words"]),
        sample_rate_hz=about["sample_rate_hz"],
        clip_samples=round(about["sample_rate_hz"] * about["clip_seconds"]),
        transform=msgspec.convert(about["features"], Transform),
        input="features",
    )


def front_end_of(store: FeatureStore, network: NetworkSpec, spec: TrainSpec) -> FrontEnd:
    """The first layers of a network that learns from a store."""
    about = describe(store)
    return FrontEnd(about.transform, about.sample_rate_hz, network.front_end, network.n_mels, spec.compression == "log")
