"""The families of networks. A new one is a module here, with its settings and its builder, and an entry below."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from msgspec import Struct

from models.networks import cnn


@dataclass(frozen=True)
class Family:
    """Networks that share a builder and differ in settings.

    Attributes
    ----------
    spec : type
        Settings under ``models.<network>`` in params.yaml: a frozen msgspec Struct with ``tag_field="family"`` and the
        family's name as ``tag``.
    build : callable
        With the parameters of :func:`models.networks.cnn.build`; imports Keras when it is called, not before.
    smallest_side : int
        Fewest frequency bins, and fewest frames, that it takes.
    code : tuple of str
        Modules that decide what it builds. A change to one of them, other than to comments, trains the family's
        networks again.
    """

    spec: type[Struct]
    build: Callable[..., Any]
    smallest_side: int
    code: tuple[str, ...]


FAMILIES = {
    "cnn": Family(cnn.CnnSpec, cnn.build, cnn.SMALLEST_SIDE, ("models.networks.cnn", "models.networks.convolution")),
}
DEFAULT_FAMILY = "cnn"
"""Family of a network whose settings name none."""


def family_of(spec: Struct) -> Family:
    """The family that settings belong to.

    Examples
    --------
    >>> family_of(cnn.CnnSpec(skip_connections=False, dropout=0.3, dense_units=256)).smallest_side
    16
    """
    return FAMILIES[str(spec.__struct_config__.tag)]
