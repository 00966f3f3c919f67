"""A trained model as a function of one timestep, run by ONNX Runtime."""

import os
from collections.abc import Mapping
from itertools import chain
from typing import Any, Literal

import numpy as np

from seqkeras._checks import check_integer, check_one_of
from seqkeras._files import DAMAGE
from seqkeras._lazy import optional
from seqkeras.errors import DataError, FileFormatError
from seqkeras.runtime._base import Arrays, Stepper
from seqkeras.runtime._cell_steps import State
from seqkeras.runtime._graph import StateArray
from seqkeras.runtime._onnx_file import read_onnx
from seqkeras.runtime._ports import make_port

#: What ONNX Runtime calls the dtypes of values.
TYPES = {
    "tensor(bool)": "bool",
    "tensor(double)": "float64",
    "tensor(float)": "float32",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
}


class OnnxProgram(Stepper):
    """A model in an ONNX file. `load_onnx` makes one; `export.save_onnx` writes the file.

    It has the methods of `Program`, and never changes either. Its states have the names and shapes
    of those of `Program`, but packed ones cannot be exchanged between the two.

    Attributes:
        name: of the model.
        form: `"step"`, or `"sequence"` for a file whose graph reads many timesteps at once.
        inputs: what a step reads.
        outputs: what a step gives.
        states: name and shape of each array of the state.
        window: timesteps of the window that each answer reads, or None where the state carries
            everything since the beginning.
        fingerprint: checksum of the file that it was loaded from.
    """

    def __init__(
        self,
        header: Mapping[str, Any],
        session: Any,
        fingerprint: str,
        nan: Literal["raise", "propagate"] = "raise",
    ) -> None:
        super().__init__(header, fingerprint, nan)
        self.form = check_one_of("form", header["form"], ("step", "sequence"))
        states = [StateArray(str(one["name"]), tuple(one["shape"])) for one in header["states"]]
        kinds = [
            np.dtype(check_one_of("dtype", one["dtype"], TYPES.values()))
            for one in header["states"]
        ]
        self._define([make_port(port) for port in header["outputs"]], states, kinds)
        self._over_time = self.form == "sequence"
        self._run = session.run
        self._reads = [one.name for one in session.get_inputs()]
        self._gives = [one.name for one in session.get_outputs()]
        self._check_session(session)

    def _advance(self, arrays: Arrays, state: State, out: State | None) -> tuple[Arrays, State]:
        if self._over_time:
            arrays = [
                array[:, np.newaxis] if moves else array
                for array, moves in zip(arrays, self._moving, strict=True)
            ]
        outputs, new = self._call(arrays, state)
        if self._over_time:
            outputs = [output[:, 0] for output in outputs]
        if out is None:
            return outputs, new
        for place, array in zip(out, new, strict=True):
            place[...] = array
        return outputs, out

    def _advance_all(self, arrays: Arrays, timesteps: int, state: State) -> tuple[Arrays, State]:
        if self._over_time and timesteps:
            return self._call(arrays, state)
        return super()._advance_all(arrays, timesteps, state)

    def _call(self, arrays: Arrays, state: State) -> tuple[Arrays, State]:
        given = dict(zip(self._reads, chain(arrays, state), strict=True))
        try:
            results = self._run(self._gives, given)
        except Exception as error:  # ONNX Runtime has no base class of its errors
            raise DataError(
                f"ONNX Runtime could not run {self.name!r} on this input, such as an id that an "
                f"embedding does not have: {error}"
            ) from error
        count = len(self.outputs)
        return results[:count], tuple(results[count:])

    def _check_session(self, session: Any) -> None:
        """Refuses a graph that is not what the header says, before it is run."""
        lead = [
            ("batch", "timesteps") if self._over_time and port.each_step else ("batch",)
            for port in (*self.inputs, *self.outputs)
        ]
        ports = [
            ((*axes, *port.shape), port.dtype)
            for axes, port in zip(lead, (*self.inputs, *self.outputs), strict=True)
        ]
        states = [(("batch", *shape), kind) for shape, kind in self._state_shapes]
        count = len(self.inputs)
        for said, values in (
            ([*ports[:count], *states], session.get_inputs()),
            ([*ports[count:], *states], session.get_outputs()),
        ):
            there = [(tuple(one.shape), np.dtype(TYPES[one.type])) for one in values]
            if there != said:
                raise ValueError(f"its header speaks of {said}, its graph has {there}")


def load_onnx(
    path: str | os.PathLike[str],
    *,
    nan: Literal["raise", "propagate"] = "raise",
    threads: int = 1,
) -> OnnxProgram:
    """Reads an ONNX file of `export.save_onnx`, to be run by ONNX Runtime on the CPU.

    Args:
        path: of the file.
        nan: what a step does with NaN in its input: `"raise"`, and the state is as it was, or
            `"propagate"` into output and state, as Keras does.
        threads: that one call may use. More than one pays for large batches of large models.

    Raises:
        FileFormatError: the file is damaged, foreign, of a later version, or has operators that
            are not of the standard.
        MissingDependencyError: onnxruntime is not installed.

    Example:
        >>> import numpy as np
        >>> from seqkeras import many_to_one
        >>> from seqkeras.export import save_onnx
        >>> save_onnx(many_to_one(3, units=8), "sensor.onnx")
        >>> program = load_onnx("sensor.onnx")
        >>> program
        OnnxProgram(many_to_one: sequence (batch, 3) -> head (batch, 1); state of 16 numbers a row)
        >>> y, state = program.step(np.zeros((2, 3)), program.initial_state(2))
        >>> y.shape, [array.shape for array in state]
        ((2, 1), [(2, 8), (2, 8)])
    """
    check_one_of("nan", nan, ("raise", "propagate"))
    threads = check_integer("threads", threads)
    runtime = optional("onnxruntime", extra="onnx")
    header, data, checksum = read_onnx(path)
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 4  # its errors are raised; they need not be printed as well
    try:
        session = runtime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime has no base class of its errors
        raise FileFormatError(f"ONNX Runtime cannot run {path}: {error}") from error
    try:
        return OnnxProgram(header, session, checksum, nan)
    except DAMAGE as error:
        raise FileFormatError(f"{path} holds no program that makes sense: {error}") from error
