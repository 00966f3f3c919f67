"""The choice of the kernel that runs a recurrent layer, and why faster kernels are not chosen."""

import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Any, NamedTuple

from keras import ops

from seqkeras._checks import Description, bad_argument, check_one_of
from seqkeras.errors import ArgumentError
from seqkeras.kernels import _scan
from seqkeras.kernels._call import Call, Result
from seqkeras.kernels._layer_spec import Spec, shown_state, shows_state, state_sizes
from seqkeras.kernels._runtime import Runtime, here
from seqkeras.kernels.cudnn import _aten, _cudnn
from seqkeras.kernels.fused import _fused

#: The kernels, fastest first. Each module has `why_not(spec, runtime)` and `run(call)`.
KERNELS: dict[str, ModuleType] = {"cudnn": _cudnn, "fused": _fused, "aten": _aten, "scan": _scan}

#: Values of a layer's argument `implementation`.
IMPLEMENTATIONS = ("auto", "scan", "fused", "cudnn")


class KernelChoice(NamedTuple):
    """The name of the kernel that runs a layer, and why no faster one was chosen."""

    name: str
    reason: str = ""


_counts: Counter[str] = Counter()
_lock = threading.Lock()


def why_not(spec: Spec, runtime: Runtime) -> dict[str, str | None]:
    """Return for each kernel why `auto` would not choose it, or None if it would; fastest first.

    This differs from the `why_not` of a kernel's module, which returns why the kernel cannot run:
    `auto` also avoids a kernel that can run but has not been measured.
    """
    return dict(_reasons(spec, runtime))


def _reasons(spec: Spec, runtime: Runtime) -> Iterator[tuple[str, str | None]]:
    for name, kernel in KERNELS.items():
        reason = kernel.why_not(spec, runtime)
        if reason is None and name == "fused":
            # It can run on a GPU, but its speed has not been measured there.
            reason = _fused.why_not_auto(runtime)
        if name != "aten" or runtime.backend == "torch":  # only PyTorch has it
            yield name, reason


def choose(implementation: str, spec: Spec, runtime: Runtime) -> KernelChoice:
    """Choose the kernel that runs a layer, without reading the values of its inputs.

    Args:
        implementation: one of `IMPLEMENTATIONS`. `auto` takes the fastest kernel that can run the
            layer, but never the fused kernel on a GPU, where its speed has not been measured. While
            a graph is exported, every implementation is treated as `auto`.
        spec: the layer, and how it is called.
        runtime: where it runs.

    Returns:
        The name of the kernel, and why no faster one was chosen.

    Raises:
        ArgumentError: `implementation` is not one of `IMPLEMENTATIONS`, or its kernel cannot run
            the layer.

    >>> from seqkeras.kernels import Runtime, Spec
    >>> choose("auto", Spec("lstm", "LSTMCell", dtype="float64"), Runtime("jax", "cpu")).name
    'scan'
    """
    check_one_of("implementation", implementation, IMPLEMENTATIONS)
    # An exported graph may run without seqkeras, where only the loop works. A request for another
    # kernel must not prevent the export: it is about this process, not about the stored graph.
    if implementation != "auto" and runtime.traced_for != "export":
        reason = KERNELS[implementation].why_not(spec, runtime)
        if reason is not None:
            raise ArgumentError(
                f"implementation={implementation!r} cannot run this layer: {reason}. "
                f"With implementation='auto' it runs on {choose('auto', spec, runtime).name!r}."
            )
        return KernelChoice(implementation, "it was requested")
    reasons: list[str] = []
    for name, reason in _reasons(spec, runtime):
        if reason is None:
            return KernelChoice(name, "; ".join(reasons))
        reasons.append(f"{name}: {reason}")
    raise AssertionError("scan runs everything")


def run(
    layer: Any, sequences: Any, state: Any, mask: Any, training: Any, reset: Any = None
) -> Result:
    """Run a recurrent layer over time, with the kernel chosen for this call.

    Args:
        layer: a recurrent layer. Its attribute `implementation`, if any, selects the kernel.
        sequences: `(batch, timesteps, features)`, in the compute dtype of the layer.
        state: the initial state, a list of `(batch, units)`.
        mask: bool, `(batch, timesteps)` or `(batch, timesteps, 1)`, True for valid timesteps; or
            None. A mask of one row applies to all rows.
        training: whether dropout and zoneout are applied.
        reset: `(batch, timesteps)`, bool: True clears the state of the row before it reads the
            timestep; None, the default, clears nothing.

    Returns:
        The last output `(batch, units)`; the outputs `(batch, timesteps, units)`, with only one
        timestep if the layer does not return sequences; and the final state.
    """
    return _run(*_prepare(layer, sequences, state, mask, training, reset))


def run_both(
    layers: Sequence[Any], sequences: Any, states: Sequence[Any], mask: Any, training: Any
) -> list[Result]:
    """Run two layers over the same sequences.

    If both run as `fused`, read in opposite directions and otherwise differ only in their weights
    and width, they share one call of the fused kernel, which `counting` counts once. Otherwise they
    run one after the other.

    Args:
        layers: two recurrent layers.
        sequences, mask, training: as for `run`.
        states: the initial state of each layer.

    Returns:
        The result of `run` for each layer.
    """
    first_layer, second_layer = layers
    first_state, second_state = states
    first, first_kernel = _prepare(first_layer, sequences, first_state, mask, training, None)
    second, second_kernel = _prepare(second_layer, sequences, second_state, mask, training, None)
    both_fused = first_kernel == second_kernel == "fused"
    if both_fused and _fused.are_alike(first, second):
        _count("fused")
        return _fused.run_both(first, second)
    return [_run(first, first_kernel), _run(second, second_kernel)]


def _run(call: Call, kernel: str) -> Result:
    _count(kernel)
    result: Result = KERNELS[kernel].run(call)
    return result


def _prepare(
    layer: Any, sequences: Any, state: Any, mask: Any, training: Any, reset: Any
) -> tuple[Call, str]:
    """Check the arguments of a call; return the call and the name of the kernel that runs it."""
    mask = mask[0] if isinstance(mask, (list, tuple)) else mask
    if mask is not None and len(mask.shape) == len(sequences.shape) == 3:
        mask = ops.squeeze(mask, -1)  # Keras also accepts masks with a last axis of 1
    if mask is not None:
        mask = _for_all_rows(mask, sequences)
    spec = Spec.of(layer, training=bool(training), resets=reset is not None)
    if spec.cell is not None:
        check_features(layer, sequences)
        _check_state(layer, sequences, state)
        state = [_for_all_rows(array, sequences) for array in state]
    runtime = here(sequences)
    choice = choose(asked(layer), spec, runtime)
    held = shown_state(layer, state) if shows_state(layer) else _last_output(layer)
    constants = getattr(layer, "constants", None)
    call = Call(
        layer, spec, sequences, state, mask, bool(training), reset, held, constants, runtime
    )
    return call, choice.name


def _count(kernel: str) -> None:
    with _lock:
        _counts[kernel] += 1


def check_features(layer: Any, sequences: Any, name: str = "sequences") -> None:
    """Check that sequences have the features of a built layer; the error calls them `name`.

    Raises:
        ArgumentError: the layer was built for another number of features.
    """
    expected = layer.cell.kernel.shape[0]
    actual = sequences.shape[-1]
    if actual not in (expected, None):
        fix = f"Layer {layer.name!r} was built for {expected} features."
        raise bad_argument(
            name, Description(f"{actual} features"), f"an array with {expected} features", fix
        )


def _check_state(layer: Any, sequences: Any, state: Any) -> None:
    sizes = state_sizes(layer.cell)
    if len(state) != len(sizes):
        expected = f"a list of {len(sizes)} arrays (batch, units)"
        raise bad_argument("initial_state", Description(f"{len(state)} arrays"), expected)
    rows = sequences.shape[0]
    for array, size in zip(state, sizes, strict=True):
        shape = tuple(array.shape)
        same_rows = rows is None or shape[0] in (rows, 1, None)
        if len(shape) != 2 or not same_rows or shape[1] not in (size, None):
            expected = f"of shape ({rows}, {size}) for layer {layer.name!r}"
            raise bad_argument("initial_state", Description(f"shape {shape}"), expected)


def _for_all_rows(array: Any, sequences: Any) -> Any:
    """Repeat a state or a mask of one row for all rows, like Keras' loop."""
    if array.shape[0] != 1 or sequences.shape[0] == 1:
        return array
    return ops.broadcast_to(array, (ops.shape(sequences)[0], *ops.shape(array)[1:]))


def _last_output(layer: Any) -> Any:
    """Return a copy of the last output that a stateful layer stores, or None if it stores none."""
    last_output = getattr(layer, "last_output", None)
    return ops.copy(last_output) if last_output is not None else None


def asked(layer: Any) -> str:
    """Return the implementation that a layer requests; Keras' `use_cudnn=True` requests cuDNN."""
    if getattr(layer, "use_cudnn", None) is True:
        return "cudnn"
    return getattr(layer, "implementation", "auto")


@contextmanager
def counting() -> Iterator[Counter[str]]:
    """Count the kernels that are chosen during a `with` block, once for each call or trace.

    The counter is filled when the block exits. It includes the calls of other threads. A compiled
    graph chooses its kernels when it is traced, and not again when it runs.

    >>> from seqkeras import kernels, layers
    >>> import numpy as np
    >>> with kernels.counting() as chosen:
    ...     y = layers.LSTM(2, implementation="scan")(np.zeros((1, 3, 4), "float32"))
    >>> dict(chosen)
    {'scan': 1}
    """
    with _lock:
        before = Counter(_counts)
    chosen: Counter[str] = Counter()
    try:
        yield chosen
    finally:
        with _lock:
            chosen.update(_counts - before)
