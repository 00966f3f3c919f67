"""Run a trained model one timestep at a time with ONNX Runtime."""

import os
from collections.abc import Mapping
from itertools import chain
from typing import Any, Literal

import numpy as np

from seqkeras._checks import bad_argument, check_integer, check_one_of
from seqkeras._files import DAMAGE, shortened
from seqkeras._lazy import import_optional
from seqkeras.errors import DataError, FileFormatError
from seqkeras.runtime._base import Arrays, StepFunction
from seqkeras.runtime._cell_steps import State
from seqkeras.runtime._graph import StateArray
from seqkeras.runtime._onnx_file import header_of, read_checked
from seqkeras.runtime._ports import Port, make_port

#: Dtypes by their names in ONNX Runtime.
TYPES = {
    "tensor(bool)": "bool",
    "tensor(double)": "float64",
    "tensor(float)": "float32",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
}


class OnnxProgram(StepFunction):
    """A model in an ONNX file, loaded by `load_onnx` and written by `export.save_onnx`.

    It has the methods of `Program`, and like a `Program` it never changes. Its states have the same
    names and shapes as those of `Program`, but packed states cannot be exchanged between the two.

    Attributes:
        name: name of the model.
        form: `"step"`, or `"sequence"` for a file whose graph reads many timesteps at once.
        inputs: the inputs of a step.
        outputs: the outputs of a step.
        states: name and shape of each array of the state.
        window: number of timesteps that each output depends on. None: the state carries everything
            since the first timestep.
        fingerprint: checksum of the file.
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
        states = [
            StateArray(str(state["name"]), tuple(state["shape"])) for state in header["states"]
        ]
        dtypes = [
            np.dtype(check_one_of("dtype", state["dtype"], TYPES.values()))
            for state in header["states"]
        ]
        self._define([make_port(port) for port in header["outputs"]], states, dtypes)
        self._over_time = self.form == "sequence"
        self._run = session.run
        self._input_names = [value.name for value in session.get_inputs()]
        self._output_names = [value.name for value in session.get_outputs()]
        self._check_session(session)

    def __reduce__(self) -> tuple[Any, ...]:
        fix = "Load its file in each process, with runtime.load_onnx."
        raise bad_argument("program", self, "a program that can be pickled", fix)

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
        inputs = dict(zip(self._input_names, chain(arrays, state), strict=True))
        try:
            results = self._run(self._output_names, inputs)
        except Exception as error:  # the errors of ONNX Runtime have no common base class
            raise DataError(
                f"ONNX Runtime could not run {self.name!r} on this input. Got: {error}. A common "
                "reason is an id that an embedding does not have."
            ) from error
        count = len(self.outputs)
        return results[:count], tuple(results[count:])

    def _check_session(self, session: Any) -> None:
        """Raise ValueError if the graph does not match the header, before it is run."""
        states = [(("batch", *shape), dtype) for shape, dtype in self._state_shapes]
        for expected, values in (
            ([*map(self._shape_and_dtype, self.inputs), *states], session.get_inputs()),
            ([*map(self._shape_and_dtype, self.outputs), *states], session.get_outputs()),
        ):
            actual = [(tuple(value.shape), np.dtype(TYPES[value.type])) for value in values]
            if actual != expected:
                raise ValueError(f"its header describes {expected}, its graph has {actual}")

    def _shape_and_dtype(self, port: Port) -> tuple[tuple[Any, ...], np.dtype[Any]]:
        has_time = self._over_time and port.each_step
        axes = ("batch", "timesteps") if has_time else ("batch",)
        return (*axes, *port.shape), port.dtype


def load_onnx(
    path: str | os.PathLike[str],
    *,
    nan: Literal["raise", "propagate"] = "raise",
    threads: int = 1,
) -> OnnxProgram:
    """Load an ONNX file that `export.save_onnx` wrote, to run it with ONNX Runtime on the CPU.

    Args:
        path: path of the file.
        nan: what a step does with NaN in its input: `"raise"`, which leaves the state as it was,
            or `"propagate"` into output and state, as Keras does.
        threads: number of threads that a call may use. More than one pays off for large batches
            of large models.

    Raises:
        FileFormatError: the file is damaged, of another kind or a later version, or ONNX Runtime
            cannot run it.
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
    runtime = import_optional("onnxruntime", extra="onnx")
    data, checksum = read_checked(path)
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # errors are raised, so they need not be printed as well
    try:
        session = runtime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the errors of ONNX Runtime have no common base class
        reason = shortened(error)
        raise FileFormatError(f"ONNX Runtime cannot run {path}. Got: {reason}") from error
    try:
        header = header_of(path, session.get_modelmeta().custom_metadata_map)
        return OnnxProgram(header, session, checksum, nan)
    except FileFormatError:
        raise
    except DAMAGE as error:
        reason = shortened(error)
        raise FileFormatError(f"{path} is not a valid program. Got: {reason}") from error
