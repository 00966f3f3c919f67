"""The decoder of an encoder-decoder, and its encoder, run by NumPy."""

import os
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from seqkeras._archive import read_archive
from seqkeras._arrays import Array
from seqkeras._checks import Description, bad_argument, check_one_of
from seqkeras._files import DAMAGE, shortened
from seqkeras._html import html_table
from seqkeras.errors import FileFormatError
from seqkeras.runtime._base import StepInputs
from seqkeras.runtime._cell_steps import State
from seqkeras.runtime._graph import Graph
from seqkeras.runtime._layers import Shape
from seqkeras.runtime._native import LayerChoice, check_native
from seqkeras.runtime._ports import Port, check_ids, convert, in_order, make_port

KIND = "seqkeras.Decoder"
VERSION = 1

#: The arrays of a state that have an axis of source timesteps.
OVER_TIME = ("memory", "mask", "keys")

#: Numbers of source timesteps that are tried at loading. The graphs are built for the first.
TRIED = (2, 3)


class SourceState(NamedTuple):
    """One array of the state of a decoder, without the batch axis.

    Attributes:
        name: its name.
        shape: its shape; None is the number of timesteps of the source.
    """

    name: str
    shape: tuple[int | None, ...]


class Decoded(NamedTuple):
    """What a step of a decoder returns.

    Attributes:
        logits: of the next token, `(batch, vocabulary_size)`; from a decoder of numbers, the
            next numbers `(batch, features)`.
        state: the state after the step.
        attention: weights of the timesteps of the source, `(batch, timesteps)`; None if the model
            has no attention.
    """

    logits: Array
    state: State
    attention: Array | None


class DecoderProgram:
    """A trained encoder-decoder that runs without Keras, read by `load_decoder`.

    `begin` reads the sources, and each `step` one token of each row, or its numbers. A state is a
    tuple of arrays `(batch, ...)`, named in `states`: those that a step changes, then what it reads
    of the source. Their rows can be selected, repeated and joined freely, as a beam search does.
    The program never changes, so it serves any number of threads.

    Attributes:
        name: name of the model.
        inputs: the sources; each has a time axis of any length in front of its `shape`.
        target: what a step reads, one timestep of the target.
        vocabulary_size: number of ids of the target; None if they are numbers.
        states: name and shape of each array of the state.
        has_attention: whether a step returns the weights of an attention.
        fingerprint: checksum of the file.

    Args:
        header: `name`, `dtype`, `inputs`, `target`, `encoder`, `decoder`, `reads`, `fed` and
            `constants` of the file.
        arrays: the weights.
        fingerprint: checksum of the file.
        use_native: whether to use the native kernels where possible.
    """

    def __init__(
        self,
        header: Mapping[str, Any],
        arrays: Mapping[str, Array],
        fingerprint: str,
        use_native: bool = False,
    ) -> None:
        self._parts = (header, arrays, fingerprint, use_native)
        self.name = str(header["name"])
        self.fingerprint = fingerprint
        self.inputs = tuple(make_port(port) for port in header["inputs"])
        self.target = make_port(header["target"])
        self.vocabulary_size = self.target.below
        self._dtype = np.dtype(check_one_of("dtype", header["dtype"], ("float32", "float64")))
        self._encoder = Graph(
            {**header["encoder"], "inputs": [_over_time(port) for port in self.inputs]},
            arrays,
            self._dtype,
            whole=True,
            use_native=use_native,
        )
        names = [str(name) for name in header["constants"]]
        moving = len(self._encoder.output_shapes) - len(names)
        fed = [] if header["fed"] is None else [(int(header["fed"]),)]
        shapes = self._encoder.output_shapes
        shapes = [*shapes[:moving], *fed, *shapes[moving:]]
        self._reads = {str(name): int(place) for name, place in header["reads"].items()}
        self._decoder = self._make_decoder(header["decoder"], shapes, arrays, use_native)
        self._fed = fed
        self._moving = moving
        states = [state.name for state in self._decoder.states] + ["fed"] * len(fed) + names
        self.has_attention = len(self._decoder.output_shapes) > 1 + len(fed)
        self.states = tuple(
            SourceState(name, (None, *shape[1:]) if name in OVER_TIME else shape)
            for name, shape in zip(states, shapes, strict=True)
        )
        self._check(shapes)

    def _make_decoder(
        self,
        spec: Mapping[str, Any],
        shapes: Sequence[Shape],
        arrays: Mapping[str, Array],
        use_native: bool,
    ) -> Graph:
        target = {"name": self.target.name, "shape": self.target.shape, "dtype": self.target.dtype}
        read = [
            {"name": name, "shape": shapes[place], "dtype": self._dtype}
            for name, place in self._reads.items()
        ]
        spec = {**spec, "inputs": [target, *read]}
        return Graph(spec, arrays, self._dtype, whole=False, use_native=use_native)

    def _check(self, shapes: Sequence[Shape]) -> None:
        """Raise ValueError unless encoder and decoder fit each other for sources of any length."""
        own = [state.shape for state in self._decoder.states]
        outputs = [self.output_shape]
        outputs += [(TRIED[0],)] if self.has_attention else []
        if own != list(shapes[: self._moving]):
            raise ValueError(f"an encoder with the states {list(shapes)} before a decoder of {own}")
        if self._decoder.output_shapes != [*outputs, *self._fed]:
            raise ValueError(f"a decoder with the outputs {self._decoder.output_shapes}")
        for timesteps in TRIED:
            sources = [np.zeros((2, timesteps, *port.shape), port.dtype) for port in self.inputs]
            with np.errstate(all="ignore"):
                state = self._begin(sources)
                self._check_state(state, 2)
                zeros = np.zeros((2, *self.target.shape), self.target.dtype)
                _, after, weights = self._step(zeros, state)
                self._check_state(after, 2)
            if weights is not None and weights.shape != (2, timesteps):
                raise ValueError(f"weights of shape {weights.shape} for {timesteps} timesteps")

    def __reduce__(self) -> tuple[Any, ...]:
        return DecoderProgram, self._parts

    def __repr__(self) -> str:
        sources = ", ".join(
            f"{port.name} {('batch', 'timesteps', *port.shape)}" for port in self.inputs
        ).replace("'", "")
        return f"DecoderProgram({self.name}: {sources} -> {self._target()})"

    def _repr_html_(self) -> str:
        rows = [
            ("sources", ", ".join(port.name for port in self.inputs)),
            ("target", self._target()),
            ("attention", "yes" if self.has_attention else "no"),
            ("fingerprint", self.fingerprint),
        ]
        return html_table(f"DecoderProgram {self.name}", rows)

    def _target(self) -> str:
        return f"{self.output_shape[0]} {self.target.name}"

    @property
    def output_shape(self) -> Shape:
        """Return the shape of the logits or numbers of one row."""
        return self.target.shape if self.vocabulary_size is None else (self.vocabulary_size,)

    @property
    def shapes(self) -> tuple[dict[str, Shape], dict[str, Shape]]:
        """Return the shapes of all values by name, without the batch axis: encoder, then decoder.

        Where there are timesteps of the source, there are two of them.
        """
        return self._encoder.shapes, self._decoder.shapes

    @property
    def choices(self) -> tuple[LayerChoice, ...]:
        """Return the implementation of each recurrent layer, and why it is not native."""
        return (*self._encoder.choices, *self._decoder.choices)

    def begin(self, sources: StepInputs) -> State:
        """Run the encoder, and return the state before the first token.

        Args:
            sources: `(batch, timesteps)` of ids, padded with 0 if the model masks it; for a model
                with several sources a list or a dict of arrays.

        Raises:
            ArgumentError: a shape or a dtype does not fit the program.
            DataError: an id is outside the embedding of the source.
        """
        is_array = len(self.inputs) == 1 and not isinstance(sources, Mapping)
        ordered = in_order(self.inputs, "sources", [sources] if is_array else sources)
        arrays = [_read(port, source) for port, source in zip(self.inputs, ordered, strict=True)]
        if len({array.shape[0] for array in arrays}) > 1:
            actual = [array.shape[0] for array in arrays]
            raise bad_argument("sources", actual, "arrays with equally many rows")
        return self._begin(arrays)

    def step(self, ids: Any, state: State) -> Decoded:
        """Read one token of each row, and return the logits of the next.

        Args:
            ids: the tokens before, `(batch,)`; at the first step the start token. For a decoder of
                numbers, the numbers before `(batch, features)`, in which NaN counts as 0.
            state: a state with the same number of rows, from `begin` or `step`. It is not changed.

        Raises:
            ArgumentError: a shape or a dtype does not fit the program.
            DataError: an id is outside the vocabulary of the target.
        """
        port = self.target
        array = convert(port, ids)
        if array.ndim != 1 + len(port.shape) or array.shape[1:] != port.shape or not len(array):
            expected = f"of shape {('batch', *port.shape)}".replace("'", "")
            raise bad_argument(port.name, Description(f"shape {array.shape}"), expected)
        check_ids(port, array)
        self._check_state(state, len(array))
        return self._step(array, state)

    def _begin(self, sources: Sequence[Array]) -> State:
        arrays, _ = self._encoder.run(sources, ())
        fed = [np.zeros((len(sources[0]), *shape), self._dtype) for shape in self._fed]
        return (*arrays[: self._moving], *fed, *arrays[self._moving :])

    def _step(self, before: Array, state: State) -> Decoded:
        read = [state[place] for place in self._reads.values()]
        (logits, *others), new = self._decoder.run([before, *read], state[: self._moving])
        attention = others.pop(0) if self.has_attention else None
        rest = state[self._moving + len(others) :]
        return Decoded(logits, (*new, *others, *rest), attention)

    def _check_state(self, state: Any, rows: int) -> None:
        is_tuple = isinstance(state, tuple) and all(isinstance(part, np.ndarray) for part in state)
        arrays = state if is_tuple else ()
        timesteps = {
            array.shape[1]
            for array, (_, shape) in zip(arrays, self.states, strict=False)
            if None in shape and array.ndim > 1
        }
        length = timesteps.pop() if len(timesteps) == 1 else None
        expected = [
            (rows, *(length if size is None else size for size in shape))
            for _, shape in self.states
        ]
        if [array.shape for array in arrays] == expected and all(
            array.dtype == self._dtype for array in arrays
        ):
            return
        shapes = [array.shape for array in arrays]
        actual = f"arrays of the shapes {shapes}" if is_tuple else type(state).__name__
        names = [f"{name} ({', '.join(map(str, (rows, *shape)))})" for name, shape in self.states]
        fix = "Take it from begin or step of this program, and select the same rows of all arrays."
        expected_text = f"a tuple of {', '.join(names)}".replace("None", "timesteps")
        raise bad_argument("state", Description(actual), f"{expected_text} of {self._dtype}", fix)


def load_decoder(
    path: str | os.PathLike[str],
    *,
    implementation: Literal["auto", "numpy", "native"] = "auto",
) -> DecoderProgram:
    """Read the file of an encoder-decoder. It contains numbers and names of layers, but no code.

    Args:
        path: path of a file that `export.save_decoder` wrote.
        implementation: what runs the recurrent layers, as in `load`; default `"auto"`.

    Raises:
        ArgumentError: `implementation` is `"native"`, and a layer cannot run on it.
        FileFormatError: the file is damaged, of another kind, or of a later version.

    Example:
        >>> import numpy as np
        >>> from seqkeras.export import save_decoder
        >>> from seqkeras.models import sequence_to_sequence
        >>> save_decoder(sequence_to_sequence(40, 30, embedding=4, units=8), "letters.decoder")
        >>> program = load_decoder("letters.decoder")
        >>> program
        DecoderProgram(sequence_to_sequence: source (batch, timesteps) -> 30 ids)
        >>> state = program.begin(np.array([[4, 8, 15], [16, 23, 0]]))
        >>> logits, state, attention = program.step(np.array([1, 1]), state)
        >>> logits.shape, attention.shape
        ((2, 30), (2, 3))
    """
    check_one_of("implementation", implementation, ("auto", "numpy", "native"))
    archive = read_archive(path, kind=KIND, version=VERSION)
    try:
        program = DecoderProgram(
            archive.header, archive.arrays, archive.checksum, implementation != "numpy"
        )
    except DAMAGE as error:
        reason = shortened(error)
        raise FileFormatError(f"{path} is not a valid decoder: {reason}") from error
    check_native(implementation, program.choices)
    return program


def _over_time(port: Port) -> dict[str, Any]:
    return {"name": port.name, "shape": (TRIED[0], *port.shape), "dtype": port.dtype}


def _read(port: Port, source: Any) -> Array:
    x = convert(port, source)
    if x.shape[2:] != port.shape or x.ndim < 2 or not x.size:
        expected = f"of shape ({', '.join(map(str, ('batch', 'timesteps', *port.shape)))})"
        raise bad_argument(port.name, Description(f"shape {x.shape}"), expected)
    check_ids(port, x)
    return x
