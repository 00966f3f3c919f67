"""Dynamic evaluation: a model adapts to a text while it is judged on that text."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from seqkeras._arrays import Array
from seqkeras._checks import check_positive, check_probability
from seqkeras._keras_graph import ModelGraph
from seqkeras.states import get_state, reset_state, set_state
from seqkeras.states._named import stateful_layers

#: Added to the size of gradients, relative to its mean over all weights.
EPSILON = 0.1


@dataclass(frozen=True)
class DynamicEvaluation:
    """The result of `dynamic_evaluation`.

    Attributes:
        loss: mean cross-entropy of all tokens, in nats.
    """

    loss: float

    @property
    def perplexity(self) -> float:
        """Return the exponential of the loss."""
        return math.exp(self.loss)


def dynamic_evaluation(
    model: keras.Model,
    batches: Any,
    *,
    statistics: Any = None,
    learning_rate: float | None = None,
    decay: float = 0.0,
) -> DynamicEvaluation:
    """Judge a language model that goes on learning: each batch is predicted, then learned.

    A text repeats its names, words and subjects. So a model that adapts to what it has read
    predicts the rest better (Mikolov et al. 2010; Krause et al. 2018, arXiv 1709.07432). Every
    token is predicted by weights that have not seen it. At the end, the model has its old weights
    and states again.

    After each batch a weight `w` moves by `-learning_rate * gradient / size`, and by
    `decay * relative_size * (start - w)`, back to where it started. The size of the gradients of a
    weight is the root of their mean square over `statistics`, the relative size is that divided by
    its mean over all weights, and both are 1 without `statistics`.

    Args:
        model: a language model, from ids `(batch, timesteps)` to logits, compiled or not.
        batches: the text in its order: a list of batches `(x, y)` or `(x, y, weights)`, or a data
            set of them that `model.fit` reads, such as `seqkeras.text.TokenBatches` with
            `partition="sequential"`, `random_start=False` and, for a model with a `reset` input,
            `reset_input=True`. Few rows and short batches adapt soonest: Krause et al. use 1 row
            and 5 timesteps.
        statistics: batches of the training text to measure the size of gradients on, a part of it
            suffices. Default: none, plain gradient descent.
        learning_rate: size of the steps. Default: 0.002 with statistics, otherwise 0.1.
        decay: share of the way back to the start that a weight moves with each batch, at most 1.
            Default: 0.

    Returns:
        The loss and the perplexity.

    Raises:
        ArgumentError: the model is not functional, or a number is out of range.

    Example:
        >>> from seqkeras.models import language_model
        >>> ids = np.tile(np.arange(8), 30)[np.newaxis]
        >>> model = language_model(8, units=8)
        >>> batches = [(ids[:, i : i + 5], ids[:, i + 1 : i + 6]) for i in range(0, 230, 5)]
        >>> guessed = 2.08  # nats: the logarithm of 8
        >>> dynamic_evaluation(model, batches, learning_rate=3.0).loss < guessed
        True
    """
    graph = ModelGraph(model)
    if learning_rate is None:
        learning_rate = 0.1 if statistics is None else 0.002
    learning_rate = check_positive("learning_rate", learning_rate)
    decay = check_probability("decay", decay)
    with _restored(model):
        sizes = None
        if statistics is not None:
            squares = _SquaredGradients()
            _read(graph, statistics, squares)
            sizes = squares.sizes()
        loss = _read(graph, batches, _Adaptation(learning_rate, decay, sizes))
    return DynamicEvaluation(loss)


@contextmanager
def _restored(model: keras.Model) -> Iterator[None]:
    """Restore the weights and states of a model at the end of the block."""
    weights = model.get_weights()
    state = get_state(model) if stateful_layers(model) else {}
    try:
        yield
    finally:
        model.set_weights(weights)
        if state:
            set_state(model, state)


class _Deterministic(keras.Model):
    """The same layers, without dropout also in training."""

    def __init__(self, graph: ModelGraph) -> None:
        super().__init__(graph.input_structure, graph.output_structure, name=graph.model.name)

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Run as outside of training."""
        return super().call(inputs, training=False, mask=mask)


def _read(graph: ModelGraph, batches: Any, optimizer: keras.optimizers.Optimizer) -> float:
    """Train on each batch once, in order; return the mean loss, each before its step."""
    if stateful_layers(graph.model):
        reset_state(graph.model)
    reader = _Deterministic(graph)
    loss = keras.losses.SparseCategoricalCrossentropy(
        from_logits=True, reduction="mean_with_sample_weight"
    )
    metric = keras.metrics.SparseCategoricalCrossentropy(from_logits=True, name="nats")
    optimizer.build(reader.trainable_variables)  # not in a traced step, which assigns no values
    reader.compile(optimizer, loss, weighted_metrics=[metric])
    if isinstance(batches, list):
        batches = _Listed(batches)
    history = reader.fit(batches, epochs=1, shuffle=False, verbose=0)
    return float(history.history["nats"][-1])


class _Listed(keras.utils.PyDataset):
    """A list of batches as a data set; Keras reads no lists, and generators once too often."""

    def __init__(self, batches: list[Any]) -> None:
        super().__init__()
        self._batches = batches

    def __len__(self) -> int:
        return len(self._batches)

    def __getitem__(self, index: int) -> Any:
        return self._batches[index]


class _SquaredGradients(keras.optimizers.Optimizer):
    """Sums the squares of gradients, and changes no weight."""

    def __init__(self) -> None:
        super().__init__(learning_rate=0.0, name="squared_gradients")

    def build(self, variables: list[Any]) -> None:
        """Create a sum for each weight."""
        super().build(variables)
        self._sums = [self.add_variable_from_reference(v, "sum_of_squares") for v in variables]

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Add the squares of a gradient."""
        gradient = ops.convert_to_tensor(gradient)
        self.assign_add(self._sums[self._get_variable_index(variable)], ops.square(gradient))

    def sizes(self) -> list[Array]:
        """Return the root of the mean square of each weight's gradient."""
        steps = max(int(self.iterations), 1)
        return [np.sqrt(ops.convert_to_numpy(total) / steps) for total in self._sums]


class _Adaptation(keras.optimizers.Optimizer):
    """The rule of Krause et al. 2018, or gradient descent if the sizes of gradients are unknown."""

    def __init__(self, learning_rate: float, decay: float, sizes: list[Array] | None) -> None:
        super().__init__(learning_rate=learning_rate, name="adaptation")
        self._decay = decay
        self._sizes = sizes

    def build(self, variables: list[Any]) -> None:
        """Remember where the weights start."""
        super().build(variables)
        self._starts = [self.add_variable_from_reference(v, "start") for v in variables]
        for start, variable in zip(self._starts, variables, strict=True):
            start.assign(ops.copy(variable))
        if self._sizes is None:
            return
        mean = np.concatenate([size.ravel() for size in self._sizes]).mean()
        self._relative = []
        self._steps = []
        for size, variable in zip(self._sizes, variables, strict=True):
            relative = self.add_variable_from_reference(variable, "relative_size")
            relative.assign(size / mean)
            self._relative.append(relative)
            step = self.add_variable_from_reference(variable, "step")
            step.assign(1 / (size + EPSILON * mean))
            self._steps.append(step)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Move a weight."""
        place = self._get_variable_index(variable)
        change = -ops.cast(learning_rate, variable.dtype) * ops.convert_to_tensor(gradient)
        pull = self._decay
        if self._sizes is not None:
            change = change * self._steps[place]
            pull = ops.minimum(pull * self._relative[place], 1.0)
        if self._decay:
            change = change + pull * (self._starts[place] - variable)
        self.assign_add(variable, change)
