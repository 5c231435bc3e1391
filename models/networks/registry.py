"""The families of networks. A new one is a module here, with its settings and its layers, and an entry below."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from models.networks import cnn, ds_cnn, residual
from models.settings import NetworkSpec, Precision


@dataclass(frozen=True)
class Family:
    """Networks that share a builder and differ in settings.

    Attributes
    ----------
    spec : type
        Settings under ``models.<network>`` in params.yaml, with the family's name as ``tag``.
    layers_of : callable
        With the parameters of :func:`models.networks.cnn.layers_of`; imports Keras when it is called, not before.
    smallest_side : int
        Fewest frequencies, and fewest frames, that it takes.
    half : bool
        Whether its layers can compute in 16 bits; if not, it always computes in float32.
    code : tuple of str
        Modules that decide what it builds. A change to one of them, other than to comments, trains the family's
        networks again.
    """

    spec: type[NetworkSpec]
    layers_of: Callable[[Any, Any, Precision], Any]
    smallest_side: int
    half: bool
    code: tuple[str, ...]


BLOCKS = "models.networks.blocks"
FAMILIES = {
    "cnn": Family(
        cnn.CnnSpec, cnn.layers_of, cnn.SMALLEST_SIDE, True, ("models.networks.cnn", "models.networks.convolution")
    ),
    "residual": Family(
        residual.ResidualSpec, residual.layers_of, residual.SMALLEST_SIDE, False, ("models.networks.residual", BLOCKS)
    ),
    "ds_cnn": Family(
        ds_cnn.DsCnnSpec, ds_cnn.layers_of, ds_cnn.SMALLEST_SIDE, False, ("models.networks.ds_cnn", BLOCKS)
    ),
}
DEFAULT_FAMILY = "cnn"
"""Family of a network whose settings name none."""


def family_of(spec: NetworkSpec) -> Family:
    """The family that settings belong to.

    Examples
    --------
    >>> family_of(cnn.CnnSpec(skip_connections=False, dropout=0.3, dense_units=256)).smallest_side
    16
    """
    return FAMILIES[str(spec.__struct_config__.tag)]
