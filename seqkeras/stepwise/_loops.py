"""Loops of a compiled graph: what they carry, write and draw."""

from collections.abc import Callable, Iterable
from typing import Any

import keras
from keras import ops

Function = Callable[..., Any]


def run_loop(
    count: Any, body: Function, carry: tuple[Any, ...], goes_on: Function | None = None
) -> tuple[Any, ...]:
    """Run `carry = body(i, *carry)` for `i` below `count`; None in the carry stays None.

    Args:
        count: the largest number of turns.
        body: a function of the number of the turn and the carry, that returns the carry.
        carry: arrays, or structures of arrays; their shapes and dtypes do not change.
        goes_on: a function of the carry; the loop ends when it is False.
    """
    # Not `ops.scan`: on TensorFlow, its outputs must have the shape of the state.
    is_array = [value is not None for value in carry]

    def with_none(arrays: Any) -> list[Any]:
        arrays = iter(arrays)
        return [next(arrays) if present else None for present in is_array]

    def without_none(values: Any) -> list[Any]:
        return [value for value, present in zip(values, is_array, strict=True) if present]

    def condition(i: Any, *arrays: Any) -> Any:
        if goes_on is None:
            return i < count
        return ops.logical_and(i < count, goes_on(*with_none(arrays)))

    def advance(i: Any, *arrays: Any) -> tuple[Any, ...]:
        return (i + 1, *without_none(body(i, *with_none(arrays))))

    start = (ops.zeros((), "int32"), *without_none(carry))
    _, *result = ops.while_loop(condition, advance, start)
    return tuple(with_none(result))


def empty(like: Any, count: Any) -> Any:
    """Return room for `count` arrays of this shape and dtype, along a new first axis."""
    return ops.zeros((count, *ops.shape(like)), like.dtype)


def written(arrays: Any, i: Any, array: Any) -> Any:
    """Return `arrays` with `array` at place `i` of the first axis."""
    return ops.scatter_update(arrays, ops.reshape(i, (1, 1)), array[None])


def noted(history: Iterable[Any], i: Any, values: Iterable[Any]) -> tuple[Any, ...]:
    """Return arrays with a value each at place `i` of the first axis; arrays that are None stay."""
    return tuple(
        None if arrays is None else written(arrays, i, ops.cast(value, arrays.dtype))
        for arrays, value in zip(history, values, strict=True)
    )


def batch_first(array: Any) -> Any:
    """Return an array `(steps, batch, ...)` as `(batch, steps, ...)`."""
    return ops.swapaxes(array, 0, 1)


def draw(function: Function, generator: Any, seed: Any) -> tuple[Any, Any]:
    """Return what a function returns that uses a `SeedGenerator`, and the seed after it.

    The seed is carried through the loop, because no variable may change inside a loop on JAX.
    """
    variable = generator.state
    with keras.StatelessScope(state_mapping=[(variable, seed)]) as scope:
        return function(), scope.get_current_value(variable)
