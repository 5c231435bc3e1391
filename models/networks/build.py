"""Building a network of any family. Keras is imported when one is built, not before."""

from typing import TYPE_CHECKING

from models.networks.front_end import FrontEnd, Statistics
from models.networks.registry import family_of
from models.settings import NetworkSpec, Precision

if TYPE_CHECKING:
    import keras


def build(
    spec: NetworkSpec,
    input_shape: tuple[int, ...],
    words: int,
    *,
    front_end: FrontEnd,
    statistics: Statistics | None,
    precision: Precision = "float32",
) -> "keras.Model":
    """Build an untrained network: its front end, its family's layers, a score for each word.

    Parameters
    ----------
    input_shape : tuple of int
        (frequency, time, 1).
    statistics : Statistics or None
        Over the clips to train on; None feeds the family's layers features that are not normalised.
    precision : {"float32", "bfloat16", "float16"}
        What the bulk of the layers computes in, where the family gains from it.

    Returns
    -------
    keras.Model
        float32 (batch, frequency, time, 1) to float32 (batch, words), logits. Keras alone loads it from a file, if it
        was built in float32.
    """
    import keras

    features = keras.Input(input_shape, name="features")
    values = family_of(spec).layers_of(spec, front_end(features, statistics), precision)
    return keras.Model(features, keras.layers.Dense(words, name="logits")(values))
