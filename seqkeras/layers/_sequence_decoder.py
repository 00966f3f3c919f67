"""The decoder of an encoder-decoder: a distribution of the next symbol after each target."""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import keras
from keras import ops, tree

from seqkeras._checks import (
    Description,
    bad_argument,
    check_flag,
    check_fraction,
    check_integer,
    check_one_of,
    nearest,
)
from seqkeras.kernels import where_rows
from seqkeras.layers._attention_cell import (
    AttentionCell,
    advance_cell,
    joined,
    one_cell,
    output_width,
)
from seqkeras.layers._attention_loop import run_attention, weight_drop
from seqkeras.layers._scheduled_sampling import ScheduledSampling
from seqkeras.layers._token_vectors import TokenVectors

CONTEXTS = ("initial", "every_step")
FEEDBACKS = ("drawn", "argmax")


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
        teacher_forcing: probability that training feeds the true target before, instead of the
            layer's own prediction for it, drawn for each timestep (Bengio et al. 2015, arXiv
            1506.03099). It is the initial value of the variable `sampling.probability`, which
            `training.TeacherForcingSchedule` lowers from epoch to epoch. No gradient flows through
            predictions that are fed back. Default: None, always the true target.
        feedback: the own prediction of an id in training: `"drawn"` (default) from the
            distribution, or `"argmax"`.
        tied: use the vectors of ids as the weights of the head too (Press and Wolf 2017, arXiv
            1608.05859), default False.
        dropout: share of the inputs of the head that training drops, default 0.
        mask_zero: whether id 0 is padding, whose timesteps do not change the state and do not count
            in the loss. Default: True. (With numbers, timesteps in which all are NaN are padding.)

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
        teacher_forcing: float | None = None,
        feedback: str = "drawn",
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
        self.embedding_width = (
            check_integer("embedding", embedding) if embedding is not None else None
        )
        self.attention = dict(attention) if attention is not None else None
        self.context = check_one_of("context", context, CONTEXTS)
        self.feedback = check_one_of("feedback", feedback, FEEDBACKS)
        self.tied = check_flag("tied", tied)
        self.mask_zero = check_flag("mask_zero", mask_zero)
        self.cell = one_cell([layer.cell for layer in self.layers])
        self.attention_cell = self._attention_cell()
        self.sampling: Any = None
        if teacher_forcing is not None:
            self.sampling = ScheduledSampling(teacher_forcing, name="sampling")
            self._draws = keras.random.SeedGenerator()
        self._create_ends(check_fraction("dropout", dropout))
        self.supports_masking = True

    def _attention_cell(self) -> AttentionCell | None:
        if self.attention is None:
            return None
        if self.context != "initial":
            fix = "The attention reads the source at every step."
            raise bad_argument("context", self.context, "'initial' with attention", fix)
        known = inspect.signature(AttentionCell.__init__).parameters.keys() - {"self", "options"}
        for name in self.attention:
            if name not in known - {"cell"}:
                fix = nearest(name, known)
                expected = "arguments of layers.AttentionCell"
                raise bad_argument("attention", Description(repr(name)), expected, fix)
        # Tied weights need an output as wide as the vectors.
        own = {"output_units": self.embedding_width} if self.tied else {}
        return AttentionCell(
            self.cell, **{**self.attention, **own}, name="attention_cell", dtype=self.dtype_policy
        )

    def _create_ends(self, dropout: float) -> None:
        """Create the layers from ids to vectors, and from features to outputs."""
        layers, dtype = keras.layers, self.dtype_policy
        width = self.embedding_width
        self.drop = layers.Dropout(dropout, name="drop", dtype=dtype)
        self.embedding: Any = None
        self.head: Any = None
        self.to_vectors: Any = None
        if self.tied:
            if width is None:
                raise bad_argument("tied", True, "False where embedding is None")
            self.embedding = TokenVectors(self.target_size, width, name="embedding", dtype=dtype)
            if self.attention is None:
                self.to_vectors = layers.Dense(width, name="to_vectors", dtype=dtype)
            return
        if width is not None:
            self.embedding = layers.Embedding(
                self.target_size, width, name="embedding", dtype=dtype
            )
        self.head = layers.Dense(self.target_size, name="head", dtype=dtype)

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
            features = self.attention_cell.output_units
        elif self.context == "every_step":
            lowest += states[self.context_place][-1]
            features += states[self.context_place][-1]
        for layer in self.layers:
            layer.build((None, None, lowest))
            lowest = output_width(layer.cell)
        self.cell.built = True
        if self.attention_cell is not None:
            self.attention_cell.build([(None, width), memory])
        self._build_ends(targets, features)

    def _build_ends(self, targets: Any, features: int) -> None:
        self._features_width = self.embedding_width if self.tied else features
        if self.embedding is not None:
            self.embedding.build(targets)
        if self.to_vectors is not None:
            self.to_vectors.build((None, None, features))
        if self.head is not None:
            self.head.build((None, None, features))

    @property
    def logits_layer(self) -> Any:
        """Return the layer that computes the outputs: a `Dense`, or tied vectors of ids."""
        return self.embedding if self.tied else self.head

    @property
    def has_loop(self) -> bool:
        """Return whether an attention at each timestep waits for that of the timestep before."""
        cell = self.attention_cell
        return cell is not None and (cell.query == "old" or cell.input_feeding)

    @property
    def context_place(self) -> int:
        """Return the place of the first state of the last layer among the flat states."""
        return len(tree.flatten([layer.cell.state_size for layer in self.layers[:-1]]))

    def call(
        self,
        inputs: Any,
        training: bool | None = None,
        return_attention: bool = False,
        return_features: bool = False,
    ) -> Any:
        """Return the logits or numbers that follow the targets.

        Args:
            inputs: list of targets, memory, memory mask and initial states.
            training: whether dropout applies.
            return_attention: whether to return also the weights of the attention, as `(batch,
                timesteps, memory_timesteps)`. Default: False.
            return_features: whether to return what `logits_layer` reads in place of what it
                returns. Default: False.
        """
        targets, memory, memory_mask, *states = inputs
        mask = self._mask(targets)
        training = bool(training)
        if training and self.sampling is not None:
            start = self.initial_state(memory, memory_mask, states)
            targets = self._with_predictions(targets, mask, *start)
        x = self._embed(targets)
        with self._begun(memory, memory_mask, states, training) as (moving, constants):
            run = self._run_loop if self.has_loop else self._run_layers
            features, weights = run(x, mask, moving, constants, training)
        features = self._read_out(features, training)
        outputs = features if return_features else self._predict(features)
        return (outputs, weights) if return_attention else outputs

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
        return self._predict(self._read_out(features)), tuple(states), weights

    @contextmanager
    def _begun(
        self, memory: Any, memory_mask: Any, states: Sequence[Any], training: bool
    ) -> Iterator[tuple[list[Any], list[Any]]]:
        """Return moving and constant arrays, with the dropout of the cells drawn in training."""
        states = [ops.cast(state, self.compute_dtype) for state in states]
        if self.attention_cell is None:
            yield states, [states[self.context_place]] if self.context == "every_step" else []
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
            rows, timesteps = ops.shape(x)[:2]
            at_every_step = [
                ops.broadcast_to(ops.expand_dims(part, 1), (rows, timesteps, part.shape[-1]))
                for part in constants
            ]
        y = joined([x, *at_every_step])
        states = list(moving)
        for layer in self.layers:
            count = len(tree.flatten(layer.cell.state_size))
            own, states = states[:count], states[count:]
            y, *_ = layer(y, initial_state=own, mask=mask, training=training)
        if self.attention_cell is None:
            return joined([y, *at_every_step]), None
        context, weights = self.attention_cell.attention.attend(y, constants)
        return joined([y, context]), weights

    def _run_loop(
        self, x: Any, mask: Any, moving: Sequence[Any], constants: Sequence[Any], training: bool
    ) -> tuple[Any, Any]:
        """Run the attention cell in a loop; return features and weights of all timesteps."""
        cell: Any = self.attention_cell
        with weight_drop(self.layers, training):
            return run_attention(cell, x, mask, moving, constants, training)

    def _advance(
        self, x: Any, moving: Sequence[Any], constants: Sequence[Any]
    ) -> tuple[Any, Any, list[Any]]:
        """Run one timestep; return what `_predict` takes, the weights and the new states."""
        if self.attention_cell is not None:
            parts, states = self.attention_cell.advance(x, moving, constants)
            h, context, weights = parts
            features = states[-1] if self.attention_cell.input_feeding else joined([h, context])
            return features, weights, states
        h, states = advance_cell(self.cell, joined([x, *constants]), moving, training=False)
        return joined([h, *constants]), None, states

    def _with_predictions(
        self, targets: Any, mask: Any, moving: Sequence[Any], constants: Sequence[Any]
    ) -> Any:
        """Return the targets, some replaced by the own prediction of the timestep before.

        The predictions are made as outside training. The first target of a row is never replaced.
        """
        shape = ops.shape(targets)[:2]
        counts = mask if mask is not None else ops.ones(shape, dtype="bool")
        is_first = ops.cumsum(ops.cast(counts, "int32"), axis=1) <= 1
        is_true = self.sampling.choices(shape) | is_first | ~counts
        draws = keras.random.uniform(shape, dtype="float32", seed=self._draws)
        places = ops.arange(shape[1])

        def replace(t: Any, before: Any) -> Any:
            fed, *states = before
            logits, after, _ = self.step(ops.take(fed, t, axis=1), states, constants)
            states = where_rows(ops.take(counts, t, axis=1), list(after), states)
            own = self._own(logits, ops.take(draws, t, axis=1))
            own = ops.cast(ops.expand_dims(own, 1), fed.dtype)
            is_next = (places == t + 1) & ~is_true
            if len(fed.shape) == 3:
                is_next = ops.expand_dims(is_next, -1)
            return [ops.where(is_next, own, fed), *map(ops.stop_gradient, states)]

        def replaced() -> Any:
            return ops.fori_loop(0, shape[1] - 1, replace, [targets, *moving])[0]

        # Without a prediction to feed, the loop would be in vain.
        return ops.stop_gradient(ops.cond(ops.all(is_true), lambda: targets, replaced))

    def _own(self, logits: Any, draws: Any) -> Any:
        """Return an id for each row of logits, with numbers in [0, 1) to draw it by; or numbers."""
        if self.embedding is None:
            return logits
        logits = ops.cast(logits, "float32")
        if self.mask_zero:
            logits = ops.where(ops.arange(self.target_size) == 0, -1e9, logits)
        if self.feedback == "argmax":
            return ops.argmax(logits, axis=-1)
        below = ops.cumsum(ops.softmax(logits), axis=-1) <= ops.expand_dims(draws, -1)
        return ops.minimum(ops.sum(ops.cast(below, "int32"), axis=-1), self.target_size - 1)

    def _read_out(self, features: Any, training: bool = False) -> Any:
        """Return what `logits_layer` reads, for features of one timestep or of all."""
        cell = self.attention_cell
        if cell is not None and not cell.input_feeding:
            features = cell.readout(features)
        features = self.drop(features, training=training)
        return self.to_vectors(features) if self.to_vectors is not None else features

    def _predict(self, features: Any) -> Any:
        """Return logits or numbers."""
        options = {"reverse": True} if self.tied else {}
        return self.logits_layer(features, **options)

    def _embed(self, targets: Any) -> Any:
        if self.embedding is None:
            targets = ops.cast(targets, self.compute_dtype)
            return ops.where(ops.isnan(targets), ops.zeros_like(targets), targets)
        return self.embedding(targets)

    def _mask(self, targets: Any) -> Any:
        """Return which targets are not padding, or None if all count."""
        if self.embedding is None:
            return ~ops.all(ops.isnan(targets), axis=-1)
        return ops.not_equal(targets, 0) if self.mask_zero else None

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """Return the mask of the targets that are not padding."""
        return self._mask(inputs[0])

    def compute_output_spec(
        self,
        inputs: Any,
        training: bool | None = None,
        return_attention: bool = False,
        return_features: bool = False,
    ) -> Any:
        """Return the shapes and dtypes of the outputs, and of the weights of the attention."""
        targets, memory, *_ = inputs
        leading = targets.shape[:2]
        width = self._features_width if return_features else self.target_size
        outputs = keras.KerasTensor((*leading, width), self.compute_dtype)
        if not return_attention:
            return outputs
        return outputs, keras.KerasTensor((*leading, memory.shape[1]), self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that recreate it."""
        return {
            **super().get_config(),
            "layers": [keras.saving.serialize_keras_object(layer) for layer in self.layers],
            "target_size": self.target_size,
            "embedding": self.embedding_width,
            "attention": self.attention,
            "context": self.context,
            "teacher_forcing": self.sampling.teacher_forcing if self.sampling else None,
            "feedback": self.feedback,
            "tied": self.tied,
            "dropout": self.drop.rate,
            "mask_zero": self.mask_zero,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "SequenceDecoder":
        """Recreate the layer."""
        layers = [keras.saving.deserialize_keras_object(layer) for layer in config["layers"]]
        return cls(**{**config, "layers": layers})


def _check_layer(layer: Any) -> None:
    is_recurrent = isinstance(layer, keras.layers.RNN)
    if not is_recurrent or not layer.return_sequences or not layer.return_state:
        actual = Description(f"a {type(layer).__name__}")
        raise bad_argument("layers", actual, "recurrent layers that return sequences and states")
    if layer.go_backwards or layer.stateful:
        option = "go_backwards" if layer.go_backwards else "stateful"
        actual = Description(f"{option}=True in {layer.name!r}")
        raise bad_argument("layers", actual, f"layers with {option}=False")
