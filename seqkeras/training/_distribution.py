"""Training over several processes, which share the rows of each batch."""

import json
import math
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import keras
import numpy as np
from keras import ops, tree

from seqkeras._arrays import Array
from seqkeras._checks import Description, bad_argument
from seqkeras._keras_graph import self_and_sublayers
from seqkeras._keras_graph._carried_mask import mask_of, set_mask
from seqkeras.kernels import processes
from seqkeras.kernels._randomness import random_state, set_random_state
from seqkeras.states._named import stateful_layers
from seqkeras.training._fingerprint import checksum, fingerprint
from seqkeras.windows._dataset import Epochs
from seqkeras.windows._targets import check_once


def connect_if_launched() -> None:
    """Connect the processes of `seqkeras launch`.

    Raises:
        ArgumentError: the backend is TensorFlow, or JAX has computed something before.
    """
    if os.environ.pop(processes.LAUNCHED, None):  # not for processes that this one starts
        processes.connect()


def process_count() -> int:
    """Return the number of processes that train together; 1 in a script that runs by itself.

    Example:
        >>> process_count()
        1
    """
    processes.connect()
    return processes.count()


def process_index() -> int:
    """Return the number of this process, from 0. Let only process 0 write files.

    Example:
        >>> process_index()
        0
    """
    processes.connect()
    return processes.index()


def is_first(distributed: bool) -> bool:
    """Return whether this process writes files and shows progress.

    Args:
        distributed: whether all processes train together.
    """
    return not distributed or process_index() == 0


def agreed(number: float, distributed: bool = True) -> float:
    """Return the mean of a number over all processes that train together, the same in each."""
    return float(np.mean(processes.collect(float(number)))) if distributed else number


def agreed_seed(seed: int) -> int:
    """Return the seed of the first process, in each process."""
    processes.connect()
    return int(processes.broadcast([np.array(seed, np.int64)])[0])


def common_seed(seed: int | None, distributed: bool) -> int | None:
    """Return a seed; if distributed, the same in each process, drawn if there is none."""
    if not distributed:
        return seed
    return agreed_seed(secrets.randbelow(2**31) if seed is None else seed)


def prepare(
    model: keras.Model, batches: Any, distributed: bool, *, validation: Any, epochs: int
) -> None:
    """Check that several processes can train a model on these batches, and let them agree on these.

    Of data, the first batches and their numbers are compared.

    Args:
        model: a compiled model.
        batches: a data set with a `batch_size`, whose seed is replaced if it was drawn.
        distributed: whether all processes train together; otherwise this does nothing.
        validation: a data set to validate on, or None.
        epochs: number of epochs.

    Raises:
        ArgumentError: they cannot train the model, or have other models, data or epochs.
    """
    if not distributed or process_count() == 1:
        return
    _check_rows(batches)
    _check_model(model)
    if batches.draws_seed:
        batches.take_seed(agreed_seed(batches.seed))
    fix = "Run the same script in each process, with the same arguments, data and seed."
    for name, value, parts in (
        ("model", model.name, [_bytes(json.dumps(fingerprint(model), default=str))]),
        ("batches", batches, [batches.first_batch(), _bytes(f"{len(batches)} {batches.seed}")]),
        ("validation", validation, _first_of(validation)),
        ("epochs", epochs, [np.array(epochs)]),
    ):
        if len(set(processes.collect(checksum(parts)))) > 1:
            raise bad_argument(name, value, "the same in each process", fix)


def _bytes(text: str) -> Array:
    return np.frombuffer(text.encode(), np.uint8)


def _first_of(validation: Any) -> list[Any]:
    """Return what is compared of a data set that may be None."""
    if validation is None:
        return []
    first = validation.first_batch() if isinstance(validation, Epochs) else validation[0]
    return [first, np.array(len(validation))]


def _check_rows(batches: Any) -> None:
    count = processes.count()
    if batches.batch_size % count:
        size = math.ceil(batches.batch_size / count) * count
        expected = f"a multiple of {count}, the number of processes"
        raise bad_argument("batch_size", batches.batch_size, expected, f"Use {size}, for example.")


def _check_model(model: keras.Model) -> None:
    fix = "Omit it in model.compile(...)."
    if model.steps_per_execution != 1:
        expected = "1 in several processes"
        raise bad_argument("steps_per_execution", model.steps_per_execution, expected, fix)
    if keras.backend.backend() != "torch":
        return
    if model.jit_compile:
        raise bad_argument("jit_compile", True, "False in several processes of PyTorch", fix)
    for layer in self_and_sublayers(model):
        if isinstance(layer, keras.layers.BatchNormalization):
            actual = Description(f"a model with the layer {layer.name!r}")
            expected = "without batch normalization in several processes of PyTorch"
            fix = (
                "Each process would normalize its own rows. Use keras.layers.LayerNormalization, "
                "or KERAS_BACKEND=jax."
            )
            raise bad_argument("model", actual, expected, fix)


def fit_model(
    model: keras.Model, batches: Any, *, distributed: bool, callbacks: Any, **options: Any
) -> Any:
    """Call `fit` of a model; if distributed, all processes take each step together.

    Before, all processes get the weights, the state of the optimizer and that of the random
    generators of the first one. After each epoch they agree on its logs, so that callbacks decide
    alike.

    Args:
        model: a built and compiled model that passes `prepare`.
        batches: a data set with the same batches in each process.
        distributed: whether all processes train together.
        callbacks: Keras callbacks.
        **options: further arguments of `fit`; `validation_data` is a data set as well.
    """
    if not distributed or process_count() == 1:
        return model.fit(batches, callbacks=callbacks, **options)
    if not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)
    validation = options.pop("validation_data", None)
    if isinstance(validation, Epochs):
        check_once(validation, model)
    _take_over(model)
    with processes.together(model, lambda call: _shared_call(model, call)):
        return model.fit(
            _Placed(batches),
            validation_data=None if validation is None else _Placed(validation),
            callbacks=[_Agreement(end := _SameEnd()), *callbacks, end],
            **options,
        )


class _Placed(keras.utils.PyDataset):
    """A data set whose batches all processes train on together."""

    def __init__(self, batches: Any) -> None:
        super().__init__(workers=1)
        self._batches = batches

    def __len__(self) -> int:
        return len(self._batches)

    def __getitem__(self, index: int) -> Any:
        return processes.place(self._batches[index])

    def on_epoch_begin(self) -> None:
        """Tell the data set, which may count its passes."""
        self._batches.on_epoch_begin()

    def on_epoch_end(self) -> None:
        """Tell the data set, which may count its passes."""
        self._batches.on_epoch_end()


class _Agreement(keras.callbacks.Callback):
    """Gives each process the model after an epoch, and the same logs, for the callbacks after it.

    Logs differ only by losses that layers add. On PyTorch these are means over the own rows, so
    their mean over processes is that over all rows.
    """

    def __init__(self, end: "_SameEnd") -> None:
        super().__init__()
        self._end = end

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Exchange states, logs, and whether a callback has asked for the end."""
        self.model.stop_training = any(processes.collect(self._end.is_wanted))
        layers = stateful_layers(self.model).values()
        processes.make_whole(self.model, [state for layer in layers for state in layer.stored])
        for name, value in (logs or {}).items():
            logs[name] = agreed(value)


class _SameEnd(keras.callbacks.Callback):
    """Ends training in all processes after an epoch if a callback of one of them wants that.

    Within an epoch, the others would wait for the steps of the process that has ended.

    Attributes:
        is_wanted: whether a callback of this process has asked for the end within an epoch.
    """

    is_wanted = False

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Postpone the end to that of the epoch."""
        self.is_wanted = self.is_wanted or bool(self.model.stop_training)
        self.model.stop_training = False

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """End training if a callback of any process wants that."""
        self.model.stop_training = any(processes.collect(self.model.stop_training))


def _take_over(model: keras.Model) -> None:
    """Give each process the numbers of the first one."""
    variables = [*model.variables, *model.optimizer.variables]
    values = [np.asarray(ops.convert_to_numpy(variable)) for variable in variables]
    for variable, value in zip(variables, processes.broadcast(values), strict=True):
        variable.assign(value)
    states = random_state()
    set_random_state(dict(zip(states, processes.broadcast(list(states.values())), strict=True)))


def _shared_call(model: keras.Model, call: Callable[..., Any]) -> Callable[..., Any]:
    """Return the call of a model, computed by all processes: each runs its own rows.

    A batch whose rows cannot be shared evenly is run whole by each.
    """
    count, index = processes.count(), processes.index()

    def run(inputs: Any, *arguments: Any, **options: Any) -> Any:
        rows = tree.flatten(inputs)[0].shape[0]
        if rows is None or rows % count:
            return call(inputs, *arguments, **options)
        own = slice(rows // count * index, rows // count * (index + 1))
        with processes.row_draws(own, rows), _own_states(model, own):
            own_inputs = tree.map_structure(lambda x: x if x is None else x[own], inputs)
            outputs = call(own_inputs, *arguments, **options)
        return tree.map_structure(_gathered, outputs)

    return run


def _gathered(output: Any) -> Any:
    """Return an output for all rows, with its mask."""
    gathered = processes.gather(output)
    mask = mask_of(output)
    if mask is not None:
        set_mask(gathered, ops.cast(processes.gather(ops.cast(mask, "uint8")), "bool"))
    return gathered


@contextmanager
def _own_states(model: keras.Model, own: slice) -> Iterator[None]:
    """Let stateful layers read and write only the own rows of their states."""
    with ExitStack() as stack:
        for layer in stateful_layers(model).values():
            stack.enter_context(_own_rows(layer, own))
        yield


@contextmanager
def _own_rows(layer: Any, own: slice) -> Iterator[None]:
    whole = {name: getattr(layer, name, None) for name in ("states", "last_output")}

    def part_of(state: Any) -> Any:
        if state is None:
            return None
        return keras.Variable(ops.copy(state[own]), trainable=False, dtype=state.dtype)

    parts = {name: tree.map_structure(part_of, states) for name, states in whole.items()}
    try:
        for name, states in parts.items():
            object.__setattr__(layer, name, states)  # bypass Keras, which would track them
        yield
    finally:
        for name, states in whole.items():
            object.__setattr__(layer, name, states)
    for state, part in zip(tree.flatten(whole), tree.flatten(parts), strict=True):
        if state is not None:
            start = (own.start,) + (0,) * (len(state.shape) - 1)
            state.assign(ops.slice_update(state, start, ops.convert_to_tensor(part)))
