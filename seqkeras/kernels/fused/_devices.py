"""The rows of a batch split over the devices of JAX.

XLA cannot look into a custom call. Without a rule it gathers all rows on every device, and each
device computes the whole batch.
"""

import inspect
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import count
from typing import Any

import jax
from jax.experimental.custom_partitioning import custom_partitioning
from jax.sharding import NamedSharding, PartitionSpec

#: Which axis of an array has the rows of the batch; None for an array without rows.
Axes = Sequence[int | None]

# Rules are for the partitioner Shardy, which JAX has since 0.5; the other one infers shardings.
_HAS_RULES = "sharding_rule" in inspect.signature(custom_partitioning.def_partition).parameters


def over_devices(function: Callable[..., list[Any]], operands: Axes, results: Axes) -> Any:
    """Return `function` so that XLA splits it over devices by the rows of the batch.

    Each device calls it with its own rows, and with the whole of every operand without rows. A
    result without rows must be a sum over rows: the sums of all devices are added up. If no operand
    has its rows split into equal parts, every device computes the whole batch.

    Args:
        function: takes arrays and returns arrays, for any number of rows.
        operands: the axis of the rows in each argument.
        results: the axis of the rows in each result.
    """
    split = custom_partitioning(function)

    def infer(mesh: Any, arguments: Any, shapes: Any) -> list[NamedSharding]:
        return _shardings(mesh, _names(arguments, operands), shapes, results)

    def partition(mesh: Any, arguments: Any, shapes: Any) -> Any:
        names = _names(arguments, operands)

        def run(*rows: Any) -> list[Any]:
            parts = function(*rows)
            if not names:
                return parts
            return [
                jax.lax.psum(part, names) if axis is None else part
                for part, axis in zip(parts, results, strict=True)
            ]

        to = _shardings(mesh, names, shapes, results)
        return mesh, run, to, tuple(_shardings(mesh, names, arguments, operands))

    def rule(_mesh: Any, arguments: Any, shapes: Any) -> str:
        numbers = count()
        return f"{_factors(arguments, operands, numbers)} -> {_factors(shapes, results, numbers)}"

    split.def_partition(partition, infer, **({"sharding_rule": rule} if _HAS_RULES else {}))

    def run_split(*arguments: Any) -> list[Any]:
        run: Callable[..., list[Any]] = function if _in_shard_map() else split
        return run(*arguments)

    return run_split


def with_typed_rows(function: Callable[[Any], Any], inputs: Any, x: Any) -> Any:
    """Return `function(inputs)`, whose results have the rows of `x` as their first axis.

    Where the axes of a mesh are explicit, the type of an array says how it is split, and the types
    of results do not follow from a custom call: here, their rows are split like those of `x`.
    """
    auto_axes = getattr(jax.sharding, "auto_axes", None)
    if auto_axes is None:  # JAX before 0.7
        return function(inputs)
    sharding = jax.typeof(x).sharding
    mesh = sharding.mesh
    explicit = tuple(
        name
        for name, kind in zip(mesh.axis_names, mesh.axis_types, strict=True)
        if kind == jax.sharding.AxisType.Explicit
    )
    if not explicit:
        return function(inputs)
    rows = NamedSharding(mesh, PartitionSpec(sharding.spec[0]))
    return auto_axes(function, axes=explicit, out_sharding=rows)(inputs)


def _in_shard_map() -> bool:
    """Return whether a call is traced inside `jax.shard_map`, which has split the rows already."""
    # JAX before 0.6 does not say. There, a `shard_map` over only some axes of a mesh fails.
    mesh = getattr(jax.sharding, "get_abstract_mesh", lambda: None)()
    return bool(getattr(mesh, "manual_axes", ()))


def _names(arguments: Iterable[Any], axes: Axes) -> tuple[str, ...]:
    """Return the axes of the mesh that the rows are split over; empty for rows that are not."""
    for argument, axis in zip(arguments, axes, strict=True):
        sharding = argument.sharding
        # JAX cannot name the axes of arrays that were split without a mesh.
        if axis is None or not isinstance(sharding, NamedSharding):
            continue
        names = sharding.spec[axis] or ()
        names = (names,) if isinstance(names, str) else tuple(names)
        parts = math.prod(sharding.mesh.shape[name] for name in names)
        if parts > 1 and argument.shape[axis] % parts == 0:
            return names
    return ()


def _shardings(
    mesh: Any, names: tuple[str, ...], arrays: Iterable[Any], axes: Axes
) -> list[NamedSharding]:
    """Return a sharding for each array that splits its rows over `names`, and nothing else."""
    return [
        NamedSharding(mesh, PartitionSpec(*_spec(len(array.shape), axis, names)))
        for array, axis in zip(arrays, axes, strict=True)
    ]


def _spec(rank: int, rows: int | None, names: tuple[str, ...]) -> list[tuple[str, ...] | None]:
    return [names if names and axis == rows else None for axis in range(rank)]


def _factors(types: Iterable[Any], axes: Axes, numbers: Iterator[int]) -> str:
    """Write arrays as in einsum: `rows` is the batch, and every other axis has its own name."""
    return ", ".join(
        " ".join("rows" if axis == rows else f"own{next(numbers)}" for axis in range(type_.rank))
        for type_, rows in zip(types, axes, strict=True)
    )
