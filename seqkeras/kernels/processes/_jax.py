"""Processes of JAX: one program over the devices of all of them."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import jax
import keras
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from keras import tree

from seqkeras._arrays import Array
from seqkeras._checks import Description, bad_argument
from seqkeras.errors import ArgumentError


def connect() -> None:
    """Connect this process by the settings of `seqkeras launch`, if it is not connected yet.

    Raises:
        ArgumentError: JAX is too old, or has already computed something.
    """
    if int(os.environ.get("KERAS_DISTRIBUTION_NUM_PROCESSES", "1")) == 1:
        return
    if not hasattr(jax.distributed, "is_initialized"):
        expected = "a newer release to train in several processes (0.10 is tested)"
        fix = "pip install -U jax keras, or use KERAS_BACKEND=torch."
        raise bad_argument("jax", Description(f"jax {jax.__version__}"), expected, fix)
    if jax.distributed.is_initialized():
        return
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    try:
        keras.distribution.initialize()
    except RuntimeError as error:  # JAX has already counted its devices
        raise ArgumentError(
            "The processes of JAX must be connected before the first computation: import "
            "seqkeras.training at the top of the script, before it builds a model or an array."
        ) from error


def count() -> int:
    """Return the number of processes."""
    return jax.process_count()


def index() -> int:
    """Return the number of this process."""
    return jax.process_index()


def broadcast(sent: Array) -> Array:
    """Return the bytes of the first process."""
    return np.asarray(multihost_utils.broadcast_one_to_all(sent))


def collect(sent: Array) -> Array:
    """Return the bytes of all processes, `(processes, bytes)`."""
    return np.asarray(multihost_utils.process_allgather(sent))


def place(batch: Any) -> Any:
    """Put the rows of a batch on all devices in equal parts, or else whole on each."""
    rows = tree.flatten(batch)[0].shape[0]
    parts = _on_devices("rows") if rows % jax.device_count() == 0 else _on_devices()

    def put(array: Any) -> Any:
        if array is None:
            return None
        array = np.asarray(array)
        return jax.make_array_from_callback(array.shape, parts, array.__getitem__)

    return tree.map_structure(put, batch)


@contextmanager
def together(model: keras.Model, share: Callable[..., Any]) -> Iterator[None]:
    """Compile the steps of a model for the devices of all processes.

    The compiler splits whatever depends on the rows of a batch, and adds up what is summed over
    them. So the steps mean what they mean in one process: losses, metrics, dropout and states are
    those of the whole batch.
    """
    model.train_function = _function(model.train_step)
    model.test_function = _function(model.test_step)
    try:
        yield
    finally:
        model.train_function = model.test_function = None
        make_whole(model)


def make_whole(model: keras.Model, states: Sequence[Any] = ()) -> None:
    """Replace variables that are copied to the devices of all processes by arrays of this one."""
    for variable in [*model.variables, *model.optimizer.variables, *model.metrics_variables]:
        if not variable.value.is_fully_addressable:
            variable.assign(np.asarray(variable.value))


def _function(step: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function of the state of a model and of batches, as `fit` of Keras calls it."""
    whole = _on_devices()
    compiled = jax.jit(step, donate_argnums=0, out_shardings=(whole, whole))

    def copy(array: Any) -> Any:
        if not array.is_fully_addressable:
            return array
        array = np.asarray(array)
        return jax.make_array_from_callback(array.shape, whole, array.__getitem__)

    def run(state: Any, batches: Iterator[Any]) -> Any:
        return compiled(jax.tree.map(copy, state), next(batches))

    return run


def _on_devices(*axes: str) -> NamedSharding:
    """Return the layout of arrays whose first axis is split over all devices, or not at all."""
    return NamedSharding(Mesh(np.array(jax.devices()), ("rows",)), PartitionSpec(*axes))
