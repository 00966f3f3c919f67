"""What the pieces of a detector have in common: parameters, fitted values, plain states."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Self, TypeAlias

import numpy as np

from seqkeras._arrays import Array
from seqkeras._checks import bad_argument, nearest
from seqkeras.errors import NotFittedError

#: A piece as plain data: its kind, its parameters as JSON values, its fitted values as arrays.
PieceState: TypeAlias = dict[str, Array | str | float | int | bool | None]

_KINDS: dict[str, type["Piece"]] = {}


class Piece:
    """A swappable piece of a detector, such as a threshold.

    Each piece is a dataclass. The fields that its constructor takes are the parameters, which
    `fit` checks; the others, whose names end in an underscore, are what `fit` learns. So
    scikit-learn can clone pieces and search over their parameters, and a piece can be fitted again
    without the rest of its detector.
    """

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        _KINDS[cls.__name__] = cls

    def __getattr__(self, name: str) -> Any:
        if name.endswith("_") and name in getattr(type(self), "__dataclass_fields__", {}):
            raise NotFittedError(f"{type(self).__name__} has no {name} yet. Call fit first.")
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters by name, as scikit-learn does."""
        return {name: getattr(self, name) for name in _parameters(self)}

    def set_params(self, **params: Any) -> Self:
        """Replace parameters by name, as scikit-learn does. Fitted values stay until `fit`.

        Raises:
            ArgumentError: the piece has no such parameter.
        """
        names = _parameters(self)
        for name, value in params.items():
            if name not in names:
                expected = "one of " + ", ".join(names) if names else "absent: there are none"
                raise bad_argument("parameter", name, expected, nearest(name, names))
            setattr(self, name, value)
        return self

    def to_state(self) -> PieceState:
        """Return the piece as plain data, for a file without pickle.

        Returns:
            `"kind"`, the name of the class; each parameter, as a value that JSON can hold; each
            fitted value, as an array (a number is an array without axes). A piece that is not
            fitted has no fitted values.
        """
        state: PieceState = {"kind": type(self).__name__}
        for name, value in self.get_params().items():
            state[name] = value.item() if isinstance(value, np.generic) else value
        for name in _learned(self):
            if name in vars(self):
                state[name] = np.asarray(getattr(self, name))
        return state


def piece_from_state(state: Mapping[str, Any]) -> Any:
    """Return the piece that `Piece.to_state` has described.

    Raises:
        ArgumentError: the kind is unknown, or the names are not those of this kind.

    Example:
        >>> from seqkeras.anomaly import KSigma
        >>> threshold = piece_from_state(KSigma(k=2.0).fit([1.0, 2.0, 3.0]).to_state())
        >>> threshold, round(threshold.value_, 3)
        (KSigma(k=2.0), 3.633)
    """
    values = dict(state)
    kind = values.pop("kind", None)
    if kind not in _KINDS:
        raise bad_argument("kind", kind, "the name of a piece", nearest(kind, _KINDS))
    known = _KINDS[kind]
    piece = known(**{name: values.pop(name) for name in _parameters(known) if name in values})
    for name, value in values.items():
        if name not in _learned(known):
            raise bad_argument("state", name, f"the parameters and fitted values of {kind}")
        array = np.array(value)
        setattr(piece, name, array.item() if array.ndim == 0 else array)
    return piece


def _parameters(piece: Any) -> list[str]:
    return [field.name for field in fields(piece) if field.init]


def _learned(piece: Any) -> list[str]:
    return [field.name for field in fields(piece) if not field.init]
