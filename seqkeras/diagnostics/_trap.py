"""A problem of a model that raises no error."""

from typing import NamedTuple


class Trap(NamedTuple):
    """One problem of a model.

    Attributes:
        layer: path to the layer, or name of the model.
        problem: what goes wrong.
        fix: what to do about it.
    """

    layer: str
    problem: str
    fix: str
