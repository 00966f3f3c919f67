"""What a kernel is called with; and a fused kernel, the same for every backend."""

from typing import Any, NamedTuple, TypeAlias

from seqkeras.kernels._runtime import Runtime


class Call(NamedTuple):
    """One call of a recurrent layer, as `kernels.run` hands it to the kernel that it chose."""

    layer: Any
    #: `(batch, timesteps, features)`
    sequences: Any
    #: a list of `(batch, units)`
    state: list[Any]
    #: `(batch, timesteps)`, True where a timestep counts; or None
    mask: Any
    training: bool
    #: `(batch, timesteps)`, bool: the state of a row is that of a new sequence; or None
    reset: Any
    runtime: Runtime


#: What a kernel gives back, as Keras' loop does: the last output, all outputs, and the state.
Result: TypeAlias = tuple[Any, Any, list[Any]]


class Static(NamedTuple):
    """What is known when a call is traced."""

    #: A name of `seqkeras.native.CELLS`.
    cell: str
    #: Names of `seqkeras.native.ACTIVATIONS`.
    activation: str
    recurrent_activation: str
    #: A name of `seqkeras.native.MASKED_OUTPUTS`: what `y` holds at masked timesteps.
    masked_output: str
    #: Reads from the last timestep; `y` is in the order of reading.
    go_backwards: bool
    #: Keep what the gradient needs. Without it a gradient is right as well, and runs forward again.
    save: bool
    #: `y` is wanted.
    sequences: bool
    #: Rates, for inference; in training the masks of `Inputs` take their place.
    zoneout_h: float
    zoneout_c: float
    norm_epsilon: float
    #: Of the products: `float32`, or `bfloat16` with sums in float32.
    precision: str
    #: Layers of the call, 1 or 2: the second one reads the other way round, and differs from the
    #: first in nothing else but its `Inputs`.
    directions: int = 1


class Inputs(NamedTuple):
    """Tensors of one layer, float32 unless said; None where there is none.

    Gates are i, f, c, o for the LSTM and z, r, h for the GRU, as Keras has them.
    """

    #: `(batch, timesteps, features)`
    x: Any
    #: `(features, gates * units)`
    kernel: Any
    #: `(units, gates * units)`
    recurrent_kernel: Any
    #: `(gates * units,)`, or `(2, gates * units)` for `gru_reset_after`
    bias: Any
    #: `(batch, units)`
    h0: Any
    #: `(batch, units)`, of the LSTM alone
    c0: Any
    #: `(batch, timesteps)`, bool; False is masked
    mask: Any
    #: `(gates, batch, units)`: factors of the state in each gate's product
    recurrent_dropout: Any
    #: `(batch, timesteps)`, bool: the state of a row is zeros before it reads this timestep
    reset: Any
    #: `(batch, timesteps, units)`, bool: where the old h and c stay; in training
    zoneout_h_mask: Any
    zoneout_c_mask: Any
    #: `(3, units)`: weights from c to the gates i, f and o
    peephole: Any
    #: `(10, units)`: scales of the 4 gates' input product, of their recurrent product, and of c;
    #: the shift of c
    norm: Any


class Outputs(NamedTuple):
    """What a layer gives."""

    #: `(batch, timesteps, units)`, or None where it is not wanted
    y: Any
    #: `(batch, units)`: `y` at the timestep read last
    last: Any
    #: `(batch, units)`: the state at the end; `c_n` is None but for the LSTM
    h_n: Any
    c_n: Any
