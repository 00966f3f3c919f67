"""Which of several equal ways runs a recurrent layer, and why not a faster one."""

import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Any, NamedTuple

from keras import ops

from seqkeras._checks import bad_argument, check_one_of
from seqkeras.errors import ArgumentError
from seqkeras.kernels import _scan
from seqkeras.kernels._call import Call, Result
from seqkeras.kernels._layer_spec import Spec
from seqkeras.kernels._runtime import Runtime, here
from seqkeras.kernels._zoneout import states_of
from seqkeras.kernels.cudnn import _aten, _cudnn
from seqkeras.kernels.fused import _fused

#: The kernels, the fastest first. Each has `why_not(spec, runtime)` and `run(call)`.
KERNELS: dict[str, ModuleType] = {"cudnn": _cudnn, "fused": _fused, "aten": _aten, "scan": _scan}

#: What a layer can be told to use.
IMPLEMENTATIONS = ("auto", "scan", "fused", "cudnn")


class Choice(NamedTuple):
    """Which of several equal ways runs a layer, and in words why each faster one does not."""

    name: str
    reason: str = ""


_counts: Counter[str] = Counter()
_lock = threading.Lock()


def why_not(spec: Spec, runtime: Runtime) -> dict[str, str | None]:
    """Of each kernel, the fastest first, why `auto` does not take it for a layer, or None."""
    return dict(_reasons(spec, runtime))


def _reasons(spec: Spec, runtime: Runtime) -> Iterator[tuple[str, str | None]]:
    for name, kernel in KERNELS.items():
        reason = kernel.why_not(spec, runtime)
        if name == "fused":
            reason = reason or _fused.why_not_unasked(runtime)
        if name != "aten" or runtime.backend == "torch":
            yield name, reason


def choose(implementation: str, spec: Spec, runtime: Runtime) -> Choice:
    """The kernel that runs a layer: a function of static facts alone.

    Args:
        implementation: one of `IMPLEMENTATIONS`; `auto` takes the fastest that can.
        spec: the layer, and how it is called.
        runtime: where it runs.

    Returns:
        The name of the kernel, and in words why each faster one does not run.

    Raises:
        ArgumentError: there is no such kernel, or it was named and cannot run this.

    >>> from seqkeras.kernels import Runtime, Spec
    >>> choose("auto", Spec("lstm", "LSTMCell", dtype="float64"), Runtime("jax", "cpu")).name
    'scan'
    """
    check_one_of("implementation", implementation, IMPLEMENTATIONS)
    if implementation != "auto" and runtime.traced_for != "export":
        reason = KERNELS[implementation].why_not(spec, runtime)
        if reason is not None:
            raise ArgumentError(
                f"implementation={implementation!r} cannot run this layer: {reason}. "
                f"With implementation='auto' it runs as {choose('auto', spec, runtime).name!r}."
            )
        return Choice(implementation, "it was asked for")
    reasons: list[str] = []
    for name, reason in _reasons(spec, runtime):
        if reason is None:
            return Choice(name, "; ".join(reasons))
        reasons.append(f"{name}: {reason}")
    raise AssertionError("scan runs everything")


def run(
    layer: Any, sequences: Any, state: Any, mask: Any, training: Any, reset: Any = None
) -> Result:
    """Runs a recurrent layer over time, on the kernel that is chosen for this call.

    Args:
        layer: a recurrent layer; its `implementation` is obeyed, if it has one.
        sequences: `(batch, timesteps, features)`, in the dtype that the layer computes in.
        state: the initial state, a list of `(batch, units)`.
        mask: `(batch, timesteps)`, or with one more axis of 1; bool, True where a timestep
            counts; or None.
        training: whether dropout is at work.
        reset: `(batch, timesteps)`, bool: the state of a row is that of a new sequence before it
            reads the timestep; or None.

    Returns:
        The last output `(batch, units)`, the outputs `(batch, timesteps, units)`, of which there
        is one timestep where the layer does not return sequences, and the state at the end.
    """
    return _run(*_prepare(layer, sequences, state, mask, training, reset))


def run_both(
    layers: Sequence[Any], sequences: Any, states: Sequence[Any], mask: Any, training: Any
) -> list[Result]:
    """Runs two layers over the same sequences: by one call of the fused kernel, if both run on it
    and differ in nothing but their weights and their direction; else one after the other.

    Args:
        layers: two recurrent layers.
        sequences, mask, training: as for `run`.
        states: the initial state of each.

    Returns:
        What `run` returns, of each. One call is counted once.
    """
    (first, kernel), (second, other) = (
        _prepare(layer, sequences, state, mask, training, None)
        for layer, state in zip(layers, states, strict=True)
    )
    if kernel == other == "fused" and _fused.are_alike(first, second):
        _count(kernel)
        return _fused.run_both(first, second)
    return [_run(first, kernel), _run(second, other)]


def _run(call: Call, kernel: str) -> Result:
    _count(kernel)
    result: Result = KERNELS[kernel].run(call)
    return result


def _prepare(
    layer: Any, sequences: Any, state: Any, mask: Any, training: Any, reset: Any
) -> tuple[Call, str]:
    """A call, and the kernel that runs it."""
    mask = mask[0] if isinstance(mask, (list, tuple)) else mask
    if mask is not None and len(mask.shape) == 3 == len(sequences.shape):
        mask = ops.squeeze(mask, -1)  # which Keras takes as well
    spec = Spec.of(layer, training=bool(training), resets=reset is not None)
    if spec.cell is not None:
        check_features(layer, sequences)
        _check_state(layer, state)
        state = [_for_all_rows(one, sequences) for one in state]
    runtime = here(sequences)
    choice = choose(asked(layer), spec, runtime)
    return Call(layer, sequences, state, mask, bool(training), reset, runtime), choice.name


def _count(kernel: str) -> None:
    with _lock:
        _counts[kernel] += 1


def check_features(layer: Any, sequences: Any, name: str = "sequences") -> None:
    """Refuses sequences, by the name that the caller has for them, of other features.

    Raises:
        ArgumentError: the layer was built for another number.
    """
    built, given = layer.cell.kernel.shape[0], sequences.shape[-1]
    if given not in (built, None):
        fix = f"Layer {layer.name!r} was built for those."
        raise bad_argument(name, f"{given} features", f"of {built} features", fix)


def _check_state(layer: Any, state: Any) -> None:
    expected = len(states_of(layer.cell))
    if len(state) != expected:
        wanted = f"a list of {expected} arrays (batch, units)"
        raise bad_argument("initial_state", f"{len(state)} arrays", wanted)


def _for_all_rows(state: Any, sequences: Any) -> Any:
    """A state of one row stands for all rows, as it does in Keras' loop."""
    if state.shape[0] != 1 or sequences.shape[0] == 1:
        return state
    return ops.broadcast_to(state, (ops.shape(sequences)[0], *state.shape[1:]))


def asked(layer: Any) -> str:
    """What a layer is told to use, `use_cudnn=True` of Keras included."""
    if getattr(layer, "use_cudnn", None) is True:
        return "cudnn"
    return getattr(layer, "implementation", "auto")


@contextmanager
def counting() -> Iterator[Counter[str]]:
    """Counts the kernels that are chosen in a `with` block: once for each call, or each trace.

    A compiled graph chooses when it is traced, and not again when it runs.

    >>> from seqkeras import kernels, layers
    >>> import numpy as np
    >>> with kernels.counting() as chosen:
    ...     y = layers.LSTM(2, implementation="scan")(np.zeros((1, 3, 4), "float32"))
    >>> dict(chosen)
    {'scan': 1}
    """
    with _lock:
        before = Counter(_counts)
    found: Counter[str] = Counter()
    try:
        yield found
    finally:
        with _lock:
            found.update(_counts - before)
