"""Random arguments of a call of the fused kernel, as NumPy arrays."""

import numpy as np

from seqkeras import native
from seqkeras.kernels.fused._arguments import FusedInputs, FusedOutputs, Static

PLAIN = Static(
    cell="lstm",
    activation="tanh",
    recurrent_activation="sigmoid",
    masked_output="hold_output",
    go_backwards=False,
    save=True,
    sequences=True,
    zoneout_h=0.0,
    zoneout_c=0.0,
    norm_epsilon=1e-3,
    precision="float32",
)


def problem(cell="lstm", shape=(3, 7, 2, 5), optional=("bias",), seed=0):
    """Make random `FusedInputs`, with the optional ones that are named."""
    rng = np.random.default_rng(seed)
    batch, timesteps, features, units = shape
    gates = native.GATES[cell]
    width, state = gates * units, (batch, units)
    shapes = {
        "x": (batch, timesteps, features),
        "kernel": (features, width),
        "recurrent_kernel": (units, width),
        "bias": (2, width) if cell == "gru_reset_after" else (width,),
        "h0": state,
        "c0": state,
        "peephole": (3, units),
        "norm": (10, units),
    }
    flags = {
        "mask": (batch, timesteps),
        "reset": (batch, timesteps),
        "zoneout_h_mask": (batch, timesteps, units),
        "zoneout_c_mask": (batch, timesteps, units),
    }
    values = {name: rng.normal(size=size) / 2 for name, size in shapes.items()}
    values = {name: value.astype("float32") for name, value in values.items()}
    values |= {name: rng.random(size) < 0.6 for name, size in flags.items()}
    values["recurrent_dropout"] = (rng.random((gates, *state)) < 0.8).astype("float32") / 0.8
    present = {"x", "kernel", "recurrent_kernel", *optional}
    return FusedInputs(*(values[name] if name in present else None for name in FusedInputs._fields))


def cotangents(static, inputs, seed=1):
    """Make random gradients to the outputs of a layer."""
    rng = np.random.default_rng(seed)
    batch, timesteps, units = *inputs.x.shape[:2], len(inputs.recurrent_kernel)
    shapes = dict.fromkeys(("last", "h_n", "c_n"), (batch, units))
    shapes["y"] = (batch, timesteps, units)
    absent = {"y": not static.sequences, "c_n": static.cell != "lstm"}
    names = [name for name in FusedOutputs._fields if not absent.get(name)]
    return {name: rng.normal(size=shapes[name]).astype("float32") for name in names}
