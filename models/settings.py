"""Settings of networks and of their training. Importing this loads neither TensorFlow nor Keras."""

import sys
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

Precision = Literal["float32", "bfloat16", "float16"]


CHECKPOINT_S = 30.0
"""Seconds between two checkpoints: the most that a kill costs."""

Share = Annotated[float, Meta(ge=0, le=1)]


class AugmentSpec(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How clips are varied while a network trains; 0 switches each off. See :mod:`models.training.augment`."""

    shift_s: Annotated[float, Meta(ge=0, le=10)] = 0.0
    """Moved earlier or later by up to this."""
    stretch: Annotated[float, Meta(ge=0, le=0.5)] = 0.0
    """Spoken faster or slower by up to this share."""
    warp: Annotated[float, Meta(ge=0, le=0.5)] = 0.0
    """Frequencies scaled by up to this share, as of larger and smaller speakers."""
    gain_db: Annotated[float, Meta(ge=0, le=60)] = 0.0
    """Louder or quieter by up to this."""
    noise: Share = 0.0
    """Share of clips to which a clip of ``silence`` is added."""
    noise_snr_db: tuple[float, float] = (10.0, 40.0)
    """Least and largest ratio of the clip's power to the noise's."""
    time_masks: Annotated[int, Meta(ge=0, le=20)] = 0
    """Stretches of time that are covered with the average."""
    time_mask_s: Annotated[float, Meta(ge=0, le=10)] = 0.08
    """Longest of them."""
    frequency_masks: Annotated[int, Meta(ge=0, le=20)] = 0
    """Ranges of frequency that are covered with the average."""
    frequency_mask: Share = 0.1
    """Widest of them, as a share of all bins or bands."""

    def __post_init__(self) -> None:
        low, high = self.noise_snr_db
        if not -100 <= low <= high <= 100:
            raise ValueError(f"noise_snr_db is {low:g} to {high:g}; expected -100 to 100, the smaller one first")


class TrainSpec(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How a network is trained."""

    batch_size: Annotated[int, Meta(ge=2)]
    epochs: Annotated[int, Meta(ge=1)]
    learning_rate: Annotated[float, Meta(gt=0, le=sys.float_info.max)]
    """AdamW's step size; with the cosine schedule, the largest."""
    schedule: Literal["cosine", "constant"]
    """``cosine`` rises from 0 in the first tenth of the steps and falls towards 0 in the others."""
    early_stopping: Annotated[int, Meta(ge=0)]
    """Epochs without a smaller validation loss after which training ends; 0 trains to the last."""
    stop_after: Annotated[int, Meta(ge=0)] = 0
    """Epochs after which training ends, while the schedule stays that of ``epochs``; 0 trains to the last."""
    class_weights: Literal["none", "balanced"]
    """``balanced``: each word counts the same in the loss, however many clips of it there are."""
    compression: Literal["log", "none"]
    """``log``: the network's first layers take the log of linear features and normalise each frequency."""
    precision: Literal["auto", "float32", "bfloat16", "float16"]
    """``auto``: the fastest known to learn on the device; see :func:`models.training.devices.choose_precision`.
    Families of small networks compute in float32 whatever it is."""
    seed: Annotated[int, Meta(ge=0, lt=2**32)]
    weight_decay: Annotated[float, Meta(ge=0, le=sys.float_info.max)] = 0.0
    """AdamW's; 0 makes it Adam. Biases and normalisations do not decay."""
    label_smoothing: Annotated[float, Meta(ge=0, lt=1)] = 0.0
    """Share of the target that is spread over all words."""
    ema: Annotated[float, Meta(ge=0, lt=1)] = 0.0
    """Momentum of the moving average of the weights, which is scored and kept; 0 takes the weights themselves."""
    augment: AugmentSpec | None = None

    @property
    def last_epoch(self) -> int:
        """The epoch with which training ends, unless early stopping ends it before."""
        return min(self.epochs, self.stop_after or self.epochs)


class NetworkSpec(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="family"):
    """What can be set about a network of any family."""

    front_end: Literal["none", "mel", "pcen"] = "none"
    """What the first layers make of stored magnitudes; features of other kinds are taken as they are."""
    n_mels: Annotated[int, Meta(ge=1)] = 40
    """Bands of the front end."""
    train: dict[str, Any] = {}
    """Settings of ``train`` that are different for this network."""
