"""Random numbers of a batch whose rows several processes of PyTorch share."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from seqkeras.kernels import _randomness

#: Functions that draw an array of the shape `size`.
_SIZED = (torch.normal, torch.rand, torch.randint, torch.randn)

#: Functions that draw an array like their first argument, row by row.
_LIKE = (torch.bernoulli, torch.multinomial)


def row_draws(own: slice, rows: int) -> AbstractContextManager[Any]:
    """Draw for all rows, and use the own ones, so that each row gets what it gets in one process.

    The draws of dropout, noise and recurrent dropout of Keras and seqkeras have the rows of the
    batch as their first axis, except those in `_randomness.same_draws`.

    Args:
        own: the rows that this process computes.
        rows: the rows of the batch.
    """
    return _RowDraws(own, rows)


class _RowDraws(TorchFunctionMode):
    def __init__(self, own: slice, rows: int) -> None:
        super().__init__()
        self._own = own
        self._rows = rows

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if _randomness.draws_alike():
            return function(*args, **kwargs)
        if function is torch.nn.functional.dropout and self._is_of_rows(args[0].shape):
            factors = torch.ones_like(self._whole(args[0].detach()))
            return args[0] * function(factors, *args[1:], **kwargs)[self._own]
        if function in _SIZED and "size" in kwargs and self._is_of_rows(kwargs["size"]):
            size = (self._rows, *kwargs["size"][1:])
            return function(*args, **{**kwargs, "size": size})[self._own]
        if function in _LIKE and self._is_of_rows(args[0].shape):
            return function(self._whole(args[0]), *args[1:], **kwargs)[self._own]
        return function(*args, **kwargs)

    def _is_of_rows(self, shape: Any) -> bool:
        return len(shape) > 0 and shape[0] == self._own.stop - self._own.start

    def _whole(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return a tensor for all rows, whose own rows are the given ones, in the same layout."""
        order = sorted(range(tensor.ndim), key=tensor.stride, reverse=True)
        shape = (self._rows, *tensor.shape[1:])
        whole = tensor.new_ones([shape[axis] for axis in order])
        whole = whole.permute([order.index(axis) for axis in range(tensor.ndim)])
        whole[self._own] = tensor
        return whole
