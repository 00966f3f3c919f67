"""The step function of an encoder-decoder, found in the graph of a trained model."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from seqkeras._checks import Description, bad_argument
from seqkeras._keras_graph import ModelGraph, name_of
from seqkeras._keras_graph._decoder_call import encoder_decoder, vocabulary_size
from seqkeras.decoding._id_arrays import check_ids, id_limit, id_rows, padded
from seqkeras.decoding._token_step import Start
from seqkeras.stepwise._model_step import output_spec


class EncoderDecoderStep:
    """Runs the decoder of an encoder-decoder one token at a time; see `TokenStep`.

    Args:
        graph: the graph of a functional model with one decoder layer, whose output are the logits
            of the decoder.
        call: the call of the decoder, on `[targets, memory, memory_mask, *states]`.

    Attributes:
        encoder: a model from the sources to `[memory, memory_mask, *states]`.
        decoder: the decoder layer.

    Raises:
        ArgumentError: the model returns something else than the logits of its decoder, or its
            decoder predicts numbers.
    """

    needs_start = True

    def __init__(self, graph: ModelGraph, call: Any) -> None:
        self.name = graph.model.name
        self.encoder, self.decoder, self._sources = encoder_decoder(graph, call)
        self.vocabulary_size = vocabulary_size(graph, self.decoder)
        self.masks_zero = bool(getattr(self.decoder, "mask_zero", False))
        self._limits = [id_limit(graph, tensor) for tensor in self._sources]
        self.layers = [self.encoder, self.decoder]
        self.has_attention = self._has_attention()

    def inputs(self, prompts: Any, start: int | None) -> dict[str, npt.NDArray[Any]]:
        """Check sources, and return them as arrays, with the id that the decoder reads first."""
        check_ids("start", np.array([start]), self.vocabulary_size, self.masks_zero)
        names = [name_of(tensor) for tensor in self._sources]
        values = self._values(prompts, names)
        arrays = [
            self._source(name, value, tensor, limit)
            for name, value, tensor, limit in zip(
                names, values, self._sources, self._limits, strict=True
            )
        ]
        if len({len(array) for array in arrays}) > 1:
            actual = Description(f"arrays of {[len(array) for array in arrays]} rows")
            raise bad_argument("prompts", actual, "arrays with equally many rows")
        if not len(arrays[0]):
            raise bad_argument("prompts", Description("no row"), "at least one source")
        first = np.full(len(arrays[0]), start, "int32")
        return {**{f"source_{place}": array for place, array in enumerate(arrays)}, "first": first}

    def begin(self, inputs: Mapping[str, Any]) -> Start:
        """Run the encoder."""
        sources = [inputs[f"source_{place}"] for place in range(len(self._sources))]
        memory, memory_mask, *states = self.encoder(sources, training=False)
        moving, constants = self.decoder.initial_state(memory, memory_mask, states)
        return Start(inputs["first"], tuple(moving), tuple(constants), memory_mask)

    def __call__(self, ids: Any, moving: tuple[Any, ...], constants: tuple[Any, ...]) -> Any:
        """Read one token of each row."""
        logits, after, weights = self.decoder.step(ids, moving, constants)
        # The dtypes of what a loop carries must not change.
        after = [ops.cast(new, old.dtype) for new, old in zip(after, moving, strict=True)]
        return logits, tuple(after), weights

    def _values(self, prompts: Any, names: list[str]) -> list[Any]:
        if isinstance(prompts, Mapping):
            missing = [name for name in names if name not in prompts]
            if missing:
                actual = Description(f"a dict without {missing[0]!r}")
                raise bad_argument("prompts", actual, f"a dict with {', '.join(map(repr, names))}")
            return [prompts[name] for name in names]
        if len(names) > 1:
            expected = f"a dict with {', '.join(map(repr, names))}"
            raise bad_argument("prompts", Description(type(prompts).__name__), expected)
        return [prompts]

    def _source(self, name: str, value: Any, tensor: Any, limit: int | None) -> npt.NDArray[Any]:
        if len(tensor.shape) == 2 and (limit is not None or "int" in tensor.dtype):
            rows = id_rows(name, value)
            for number, row in enumerate(rows):
                check_ids(f"row {number} of {name}", row, limit)
            return padded(rows, max(1, *map(len, rows)))
        array = ops.convert_to_numpy(value) if ops.is_tensor(value) else np.asarray(value)
        expected = tuple(tensor.shape[1:])
        if array.dtype.kind not in "biuf" or not _fits(array.shape, expected):
            actual = Description(f"an array of {array.dtype} of shape {array.shape}")
            shape = str(("batch", *expected)).replace("'", "").replace("None", "timesteps")
            raise bad_argument(name, actual, f"an array of numbers of shape {shape}")
        return array.astype(tensor.dtype)

    def _has_attention(self) -> bool:
        flags: list[bool] = []
        sources = {
            f"source_{place}": keras.KerasTensor((1, *_known(tensor.shape[1:])), tensor.dtype)
            for place, tensor in enumerate(self._sources)
        }

        def run(inputs: Any) -> Any:
            ids, moving, constants, _ = self.begin(inputs)
            logits, _, weights = self(ids, moving, constants)
            flags.append(weights is not None)
            return logits

        output_spec(run, {**sources, "first": keras.KerasTensor((1,), "int32")})
        return flags[-1]


def _fits(shape: tuple[int, ...], expected: tuple[int | None, ...]) -> bool:
    return len(shape) == len(expected) + 1 and all(
        size in (None, actual) for size, actual in zip(expected, shape[1:], strict=True)
    )


def _known(shape: tuple[int | None, ...]) -> tuple[int, ...]:
    # Not 1: Keras warns of a softmax over a single timestep.
    return tuple(size or 2 for size in shape)
