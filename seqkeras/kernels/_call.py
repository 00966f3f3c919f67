"""One call of a recurrent layer, as every kernel receives it."""

from typing import Any, NamedTuple, TypeAlias

from seqkeras.kernels._draws import draws_zoneout
from seqkeras.kernels._layer_spec import Spec
from seqkeras.kernels._runtime import Runtime


class Call(NamedTuple):
    """One call of a recurrent layer, as `kernels.run` passes it to the kernel that it chose."""

    layer: Any
    #: The static facts of the layer in this call.
    spec: Spec
    #: `(batch, timesteps, features)`
    sequences: Any
    #: A list of `(batch, units)`.
    state: list[Any]
    #: bool, `(batch, timesteps)`, True for valid timesteps; or None.
    mask: Any
    training: bool
    #: `(batch, timesteps)`, bool: clear the state of the row before this timestep; or None.
    reset: Any
    #: `(batch, ...)`: the output before the first valid timestep; None for zeros.
    held: Any
    #: Tensors that a custom cell reads at every timestep, or None.
    constants: list[Any] | None
    runtime: Runtime

    @property
    def has_flags(self) -> bool:
        """Return whether the loop reads flags with each timestep: resets or drawn zoneout."""
        return self.reset is not None or draws_zoneout(self.layer.cell, self.training)

    @property
    def masked_output(self) -> str:
        """Return the name in `native.MASKED_OUTPUTS` of what `y` holds at masked timesteps."""
        return "zero" if self.layer.zero_output_for_mask else "hold_state"


#: What a kernel returns, like Keras' loop: the last output, all outputs, and the final state.
Result: TypeAlias = tuple[Any, Any, list[Any]]
