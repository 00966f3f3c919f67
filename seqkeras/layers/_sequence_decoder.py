"""The decoder of an encoder-decoder: a distribution of the next symbol after each target."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import keras
from keras import ops, tree

from seqkeras._checks import Description, bad_argument, check_fraction, check_integer, check_one_of
from seqkeras.kernels import where_rows
from seqkeras.layers._attention_cell import (
    AttentionCell,
    advance_cell,
    one_cell,
    output_width,
)
from seqkeras.layers._token_vectors import TokenVectors

CONTEXTS = ("initial", "every_step")


@keras.saving.register_keras_serializable(package="seqkeras")
class SequenceDecoder(keras.layers.Layer):
    """A layer that predicts a target sequence from the states and the outputs of an encoder.

    Called as `decoder([targets, memory, memory_mask, *states])` with the ids of the targets
    `(batch, timesteps)`, each the one before the id to predict; the outputs of the encoder
    `(batch, memory_timesteps, width)`, their mask as booleans, and the initial states of its
    recurrent layers, in their order. Returns logits `(batch, timesteps, target_size)`.

    Wherever no timestep of the recurrent layers waits for an attention, they run on their kernels
    over the whole sequence: without attention, and with `"query": "new"` and no input feeding.
    Otherwise they run in one loop. The same weights serve one timestep at a time: see
    `initial_state` and `step`.

    Args:
        layers: recurrent layers, the lowest first, that return sequences and states.
        target_size: number of ids; with numbers as targets, their features.
        embedding: width of the vectors of ids. None: the targets are numbers `(batch, timesteps,
            target_size)`, and so are the outputs.
        attention: options of the `AttentionCell` around the recurrent layers, such as
            `{"mechanism": "dot", "query": "new"}`. Default: no attention.
        context: without attention, what the decoder sees of the source: `"initial"` (default), its
            initial states (Sutskever et al. 2014, arXiv 1409.3215); `"every_step"`, also the first
            initial state of its last layer, which the lowest layer and the head read at every
            timestep (Cho et al. 2014, arXiv 1406.1078).
        tied: use the vectors of ids as the weights of the head too (Press and Wolf 2017, arXiv
            1608.05859), default False.
        dropout: share of the inputs of the head that training drops, default 0.
        mask_zero: whether id 0 is padding, whose timesteps do not change the state and do not count
            in the loss. Default: True.

    Raises:
        ArgumentError: an argument cannot work.

    Example:
        >>> import numpy as np
        >>> from seqkeras.layers import GRU
        >>> gru = GRU(4, return_sequences=True, return_state=True)
        >>> decoder = SequenceDecoder([gru], 9, embedding=3, attention={"mechanism": "additive"})
        >>> ids, memory, mask = np.ones((2, 5)), np.ones((2, 6, 8)), np.ones((2, 6), bool)
        >>> decoder([ids, memory, mask, np.zeros((2, 4))]).shape == (2, 5, 9)
        True
    """

    def __init__(
        self,
        layers: Sequence[keras.layers.RNN],
        target_size: int,
        *,
        embedding: int | None = None,
        attention: Mapping[str, Any] | None = None,
        context: str = "initial",
        tied: bool = False,
        dropout: float = 0.0,
        mask_zero: bool = True,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        for layer in layers:
            _check_layer(layer)
        self.layers = list(layers)
        self.target_size = check_integer("target_size", target_size)
        self.embedding_width = check_integer("embedding", embedding) if embedding else None
        self.attention = dict(attention) if attention is not None else None
        self.context = check_one_of("context", context, CONTEXTS)
        self.tied = tied
        self.mask_zero = mask_zero
        self.drop = keras.layers.Dropout(check_fraction("dropout", dropout), name="drop")
        self.cell = one_cell([layer.cell for layer in self.layers])
        self._create_ends()
        self.attention_cell = None
        if self.attention is not None:
            if context != "initial":
                fix = "The attention reads the source at every step."
                raise bad_argument("context", context, "'initial' with attention", fix)
            own = {"output_units": embedding} if tied else {}
            self.attention_cell = AttentionCell(
                self.cell, **self.attention, **own, name="attention_cell", dtype=self.dtype_policy
            )
        self.supports_masking = True

    def _create_ends(self) -> None:
        self.embedding = self.head = self.to_vectors = None
        if self.tied:
            if self.embedding_width is None:
                raise bad_argument("tied", True, "False where embedding is None")
            self.embedding = TokenVectors(self.target_size, self.embedding_width, name="embedding")
            if self.attention is None:
                self.to_vectors = keras.layers.Dense(self.embedding_width, name="to_vectors")
            return
        if self.embedding_width is not None:
            self.embedding = keras.layers.Embedding(
                self.target_size, self.embedding_width, name="embedding"
            )
        self.head = keras.layers.Dense(self.target_size, name="head")

    @property
    def vocabulary_size(self) -> int | None:
        """Return the number of ids; None where the targets are numbers."""
        return self.target_size if self.embedding is not None else None

    def build(self, input_shape: Any) -> None:
        """Create the weights of all parts."""
        targets, memory, _, *states = input_shape
        width = self.embedding_width or self.target_size
        lowest, features = width, output_width(self.cell)
        if self.attention_cell is not None:
            lowest = self.attention_cell.input_width(width, memory[-1])
            features += memory[-1]
            if self.attention_cell.input_feeding:
                features = self.attention_cell.output_size
        elif self.context == "every_step":
            lowest += states[self._context_place][-1]
            features += states[self._context_place][-1]
        self._feature_width = features
        for layer in self.layers:
            layer.build((None, None, lowest))
            lowest = output_width(layer.cell)
        self.cell.built = True
        if self.attention_cell is not None:
            self.attention_cell.build([(None, width), memory])
            features = self.attention_cell.output_size
        self._build_ends(targets, features)

    def _build_ends(self, targets: Any, features: int) -> None:
        if self.embedding is not None:
            self.embedding.build(targets)
        if self.to_vectors is not None:
            self.to_vectors.build((None, None, features))
        if self.head is not None:
            self.head.build((None, None, features))

    @property
    def _has_loop(self) -> bool:
        """Return whether an attention at each timestep waits for that of the timestep before."""
        cell = self.attention_cell
        return cell is not None and (cell.query == "old" or cell.input_feeding)

    @property
    def _context_place(self) -> int:
        """Return the place of the first state of the last layer among the flat states."""
        return len(tree.flatten([layer.cell.state_size for layer in self.layers[:-1]]))

    def call(
        self, inputs: Any, training: bool | None = None, return_attention: bool = False
    ) -> Any:
        """Return the logits or numbers that follow the targets.

        Args:
            inputs: list of targets, memory, memory mask and initial states.
            training: whether dropout applies.
            return_attention: whether to return also the weights of the attention, as `(batch,
                timesteps, memory_timesteps)`. Default: False.
        """
        targets, memory, memory_mask, *states = inputs
        mask = self._mask(targets)
        x = self._embed(targets)
        training = bool(training)
        with self._begun(memory, memory_mask, states, training) as (moving, constants):
            run = self._loop if self._has_loop else self._run_layers
            features, weights = run(x, mask, moving, constants, training)
        logits = self._predict(features, training)
        return (logits, weights) if return_attention else logits

    def initial_state(
        self, memory: Any, memory_mask: Any, states: Sequence[Any]
    ) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """Return what the first step takes, with the batch as the first axis of each array.

        Returns:
            The arrays that a step changes, and those that it only reads.
        """
        with self._begun(memory, memory_mask, states, training=False) as (moving, constants):
            return tuple(moving), tuple(constants)

    def step(
        self, ids: Any, moving: Sequence[Any], constants: Sequence[Any]
    ) -> tuple[Any, tuple[Any, ...], Any]:
        """Run one timestep of all rows, as outside training.

        Args:
            ids: the previous id of each row, `(batch,)`; or numbers `(batch, target_size)`.
            moving: what the previous step, or `initial_state`, returned.
            constants: what `initial_state` returned.

        Returns:
            Logits or numbers `(batch, target_size)`, the new `moving`, and the weights of the
            attention `(batch, memory_timesteps)`, None without attention.
        """
        features, weights, states = self._advance(self._embed(ids), moving, constants)
        return self._predict(features), tuple(states), weights

    @contextmanager
    def _begun(
        self, memory: Any, memory_mask: Any, states: Sequence[Any], training: bool
    ) -> Iterator[tuple[list[Any], list[Any]]]:
        """Return moving and constant arrays, with the dropout of the cells drawn in training."""
        states = [ops.cast(state, self.compute_dtype) for state in states]
        if self.attention_cell is None:
            yield states, [states[self._context_place]] if self.context == "every_step" else []
            return
        with self.attention_cell.prepared([memory, memory_mask], training) as constants:
            zeros = self.attention_cell.get_initial_state(ops.shape(memory)[0])
            yield [*states, *zeros[len(states) :]], constants

    def _run_layers(
        self, x: Any, mask: Any, moving: Sequence[Any], constants: Sequence[Any], training: bool
    ) -> tuple[Any, Any]:
        """Run the layers on their kernels; return features and weights of all timesteps."""
        at_every_step = []
        if self.attention_cell is None:
            shape = (*ops.shape(x)[:2], -1)
            at_every_step = [
                ops.broadcast_to(ops.expand_dims(part, 1), (*shape[:2], part.shape[-1]))
                for part in constants
            ]
        y = _joined([x, *at_every_step])
        states = list(moving)
        for layer in self.layers:
            count = len(tree.flatten(layer.cell.state_size))
            own, states = states[:count], states[count:]
            y, *_ = layer(y, initial_state=own, mask=mask, training=training)
        if self.attention_cell is None:
            return _joined([y, *at_every_step]), None
        context, weights = self.attention_cell.attention.attend(y, constants)
        return _joined([y, context]), weights

    def _loop(
        self, x: Any, mask: Any, moving: Sequence[Any], constants: Sequence[Any], training: bool
    ) -> tuple[Any, Any]:
        """Run the attention cell in a loop; return features and weights of all timesteps."""

        def advance(column: Any, states: Sequence[Any]) -> tuple[Any, list[Any]]:
            features, weights, after = self._advance(column, states, constants, training)
            return _joined([features, weights]), after

        cell = _LoopCell(advance, moving, mask is not None, name=self.name, dtype=self.dtype_policy)
        # An automatic name would advance Keras' counter of layer names.
        loop = keras.layers.RNN(
            cell, return_sequences=True, name=self.name, dtype=self.dtype_policy
        )
        if mask is not None:
            x = _joined([x, ops.expand_dims(ops.cast(mask, self.compute_dtype), -1)])
        outputs = loop(x, initial_state=list(moving))
        width = self._feature_width
        return outputs[..., :width], outputs[..., width:]

    def _advance(
        self, x: Any, moving: Sequence[Any], constants: Sequence[Any], training: bool = False
    ) -> tuple[Any, Any, list[Any]]:
        """Run one timestep; return what `_read_out` takes, the weights and the new states."""
        if self.attention_cell is not None:
            parts, states = self.attention_cell.advance(x, moving, constants, training)
            h, context, weights = parts
            features = states[-1] if self.attention_cell.input_feeding else _joined([h, context])
            return features, weights, states
        h, states = advance_cell(self.cell, _joined([x, *constants]), moving, training)
        return _joined([h, *constants]), None, states

    def _predict(self, features: Any, training: bool = False) -> Any:
        """Return logits or numbers for features of one timestep or of all."""
        cell = self.attention_cell
        if cell is not None and not cell.input_feeding:
            features = cell.readout(features)
        features = self.drop(features, training=training)
        if self.to_vectors is not None:
            features = self.to_vectors(features)
        if self.head is not None:
            return self.head(features)
        return self.embedding(features, reverse=True)

    def _embed(self, targets: Any) -> Any:
        if self.embedding is None:
            return ops.cast(targets, self.compute_dtype)
        return self.embedding(targets)

    def _mask(self, targets: Any) -> Any:
        """Return which targets are not padding, or None if all count."""
        if self.embedding is None or not self.mask_zero:
            return None
        return ops.not_equal(targets, 0)

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """Return the mask of the targets that are not padding."""
        return self._mask(inputs[0])

    def compute_output_spec(
        self, inputs: Any, training: bool | None = None, return_attention: bool = False
    ) -> Any:
        """Return the shapes and dtypes of the outputs, and of the weights of the attention."""
        targets, memory, *_ = inputs
        leading = targets.shape[:2]
        logits = keras.KerasTensor((*leading, self.target_size), self.compute_dtype)
        if not return_attention:
            return logits
        return logits, keras.KerasTensor((*leading, memory.shape[1]), self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that recreate it."""
        return {
            **super().get_config(),
            "layers": [keras.saving.serialize_keras_object(layer) for layer in self.layers],
            "target_size": self.target_size,
            "embedding": self.embedding_width,
            "attention": self.attention,
            "context": self.context,
            "tied": self.tied,
            "dropout": self.drop.rate,
            "mask_zero": self.mask_zero,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "SequenceDecoder":
        """Recreate the layer."""
        layers = [keras.saving.deserialize_keras_object(layer) for layer in config["layers"]]
        return cls(**{**config, "layers": layers})


class _LoopCell(keras.layers.Layer):
    """A function of one timestep as a Keras cell; the last column of its input is the mask."""

    def __init__(
        self,
        advance: Callable[[Any, Sequence[Any]], tuple[Any, list[Any]]],
        states: Sequence[Any],
        is_masked: bool,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.advance = advance
        self.state_size = [state.shape[-1] for state in states]
        self.is_masked = is_masked
        self.built = True

    def call(self, inputs: Any, states: Sequence[Any]) -> tuple[Any, list[Any]]:
        if not self.is_masked:
            return self.advance(inputs, states)
        output, after = self.advance(inputs[:, :-1], states)
        return output, where_rows(inputs[:, -1] > 0, after, list(states))


def _joined(parts: Sequence[Any]) -> Any:
    return ops.concatenate(parts, axis=-1) if len(parts) > 1 else parts[0]


def _check_layer(layer: Any) -> None:
    is_recurrent = isinstance(layer, keras.layers.RNN)
    if not is_recurrent or not layer.return_sequences or not layer.return_state:
        actual = Description(f"a {type(layer).__name__}")
        raise bad_argument("layers", actual, "recurrent layers that return sequences and states")
    if layer.go_backwards or layer.stateful:
        option = "go_backwards" if layer.go_backwards else "stateful"
        actual = Description(f"{option}=True in {layer.name!r}")
        raise bad_argument("layers", actual, f"layers with {option}=False")
