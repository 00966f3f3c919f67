"""The mask that a tensor carries from one layer to the next, and to the loss."""

from typing import Any


def mask_of(tensor: Any) -> Any:
    """Return the mask of a tensor, or None."""
    return getattr(tensor, "_keras_mask", None)


def set_mask(tensor: Any, mask: Any) -> None:
    """Let a tensor carry a mask."""
    tensor._keras_mask = mask
