"""Training on a sample of the ids that a model predicts, for large vocabularies."""

from contextlib import nullcontext
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops, tree

from seqkeras._arrays import Array
from seqkeras._checks import Description, bad_argument, check_integer
from seqkeras._keras_graph import ModelGraph
from seqkeras._keras_graph._decoder_call import vocabulary_size
from seqkeras.layers import SequenceDecoder, TokenVectors

#: The logit of an id that does not count: exp of it is 0.
_EXCLUDED = -1e9


def sampled_softmax(
    model: keras.Model,
    samples: int,
    *,
    frequencies: npt.ArrayLike | None = None,
    seed: int | None = None,
) -> keras.Model:
    """Return a model that trains the weights of a model of symbols at a fraction of the cost.

    The last layer of a language model or of an encoder-decoder computes a logit for each id, most
    of the work for a large vocabulary. In training, the returned model computes those of the target
    and of `samples` other ids only, drawn anew for each batch and shared by its timesteps. The
    logit of a sampled id is corrected by the probability with which it is drawn, so that the sum in
    the softmax is estimated without bias (Jean et al. 2015, arXiv 1412.2007; Horvitz and Thompson
    1952). Each draw has exactly `samples` distinct ids. Evaluation and prediction use all ids, and
    so do the predictions that an encoder-decoder feeds back where `teacher_forcing` is below 1.

    Both models share their layers: train the returned model, then use, save or export the original.
    Metrics are computed in evaluation only.

    Args:
        model: a language model, such as `seqkeras.models.language_model` builds, whose outputs are
            the logits of a `Dense` or a `seqkeras.layers.TokenVectors` layer; or an
            encoder-decoder, such as `seqkeras.models.sequence_to_sequence` builds, whose outputs
            are the logits of a `seqkeras.layers.SequenceDecoder` of ids.
        samples: number of ids that are drawn for a batch.
        frequencies: how often each id occurs; ids are drawn in proportion, as far as their
            probability does not exceed 1. Default: as in a text whose ids are in the order of
            frequency, the most frequent first (log-uniform).
        seed: seed of the draws. Default: new draws for each model.

    Returns:
        An uncompiled model. Compile it with a loss for integer targets and logits that adds a term
        for each token, such as `seqkeras.text.TokenCrossEntropy`. Its label smoothing spreads over
        all ids, exactly; that of other losses is refused.

    Raises:
        ArgumentError: the last layer is of another class, not linear, or a decoder of numbers;
            there are fewer ids than samples; or frequencies do not fit the vocabulary.

    Example:
        >>> import numpy as np
        >>> from seqkeras.models import language_model
        >>> model = language_model(1000, units=8)
        >>> fast = sampled_softmax(model, 50, seed=0)
        >>> loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        >>> fast.compile("adam", loss)
        >>> ids = np.arange(24).reshape(2, 12)
        >>> history = fast.fit(ids[:, :-1], ids[:, 1:], verbose=0)
    """
    return _SampledSoftmax(ModelGraph(model), samples, frequencies, seed)


class _Head:
    """The layer that computes the logits of a model, and what it reads."""

    def __init__(self, graph: ModelGraph) -> None:
        if len(graph.outputs) != 1:
            raise bad_argument("model", graph.model.name, "a model with one output")
        logits = graph.outputs[0]
        call = next(call for call in graph.calls if call.output_tensors[0] is logits)
        last = call.operation
        self.inputs = list(call.input_tensors)  # one, but for a decoder
        self._decoder = last if isinstance(last, SequenceDecoder) else None
        if self._decoder is not None:
            self.layer, self.size = last.logits_layer, vocabulary_size(graph, last)
        else:
            self.layer, self.size = last, int(logits.shape[-1])
        activation = getattr(self.layer, "activation", keras.activations.linear)
        is_head = isinstance(self.layer, (keras.layers.Dense, TokenVectors))
        if not is_head or activation is not keras.activations.linear:
            actual = Description(f"logits of {self.layer.name!r}, a {type(self.layer).__name__}")
            expected = (
                "a model that ends with a linear Dense, a TokenVectors or a SequenceDecoder layer"
            )
            raise bad_argument("model", actual, expected)

    def vectors(self, values: Any) -> Any:
        """Return in training what the layer reads, from the values of `inputs`."""
        if self._decoder is None:
            return values
        return self._decoder(values, training=True, return_features=True)

    def mean_logits(self, vectors: Any) -> Any:
        """Return the mean of the logits of all ids for vectors `(..., units)`."""
        if isinstance(self.layer, TokenVectors):
            weights, bias = ops.mean(self.layer.vectors, axis=0), self.layer.bias
        else:
            weights, bias = ops.mean(self.layer.kernel, axis=1), self.layer.bias
        means = ops.matmul(vectors, ops.cast(weights, vectors.dtype))
        return means if bias is None else means + ops.cast(ops.mean(bias), means.dtype)

    def weights(self, ids: Any) -> tuple[Any, Any]:
        """Return the weights `(ids, units)` and the biases `(ids,)` of some ids."""
        if isinstance(self.layer, TokenVectors):
            return ops.take(self.layer.vectors, ids, axis=0), ops.take(self.layer.bias, ids)
        weights = ops.transpose(ops.take(self.layer.kernel, ids, axis=1))
        return weights, ops.take(self.layer.bias, ids) if self.layer.use_bias else None


class _SampledSoftmax(keras.Model):
    """The model that `sampled_softmax` returns."""

    def __init__(self, graph: ModelGraph, samples: int, frequencies: Any, seed: int | None) -> None:
        head = _Head(graph)
        inputs = graph.input_structure
        super().__init__(inputs, graph.output_structure, name=graph.model.name)
        self._head = head
        self._before_head = keras.Model(inputs, head.inputs)
        self._sampled = _SampledLogits(head, samples, frequencies, seed)
        self._has_sampled = False

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Return logits, in training what the last layer reads."""
        if training:
            return self._head.vectors(self._before_head(inputs, training=True))
        return super().call(inputs, training=training, mask=mask)

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """Return the loss, in training that of sampled logits."""
        self._has_sampled = training
        if not training:
            return super().compute_loss(x, y, y_pred, sample_weight, training)
        with self._smoothed_over_all_ids(y_pred):
            logits = self._sampled(y_pred, y)
            return super().compute_loss(x, ops.zeros_like(y), logits, sample_weight, training)

    def _smoothed_over_all_ids(self, vectors: Any) -> Any:
        """Return a context in which the loss spreads its label smoothing over all ids."""
        loss = next((x for x in tree.flatten(self.loss) if getattr(x, "label_smoothing", 0)), None)
        if loss is None:
            return nullcontext()
        if not hasattr(loss, "of_sample"):
            fix = "It would be spread over the sampled ids only. Use text.TokenCrossEntropy."
            expected = "0 with a sampled softmax"
            raise bad_argument("label_smoothing", loss.label_smoothing, expected, fix)
        return loss.of_sample(self._head.mean_logits(vectors))

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Return the loss, in evaluation with the metrics."""
        if self._has_sampled:
            return self.get_metrics_result()
        return super().compute_metrics(x, y, y_pred, sample_weight)

    def get_metrics_result(self) -> Any:
        """Return the loss, in evaluation with the metrics."""
        if self._has_sampled:
            return {"loss": next(m for m in self.metrics if m.name == "loss").result()}
        return super().get_metrics_result()


class _SampledLogits(keras.layers.Layer):
    """Computes the logits of the target, in place 0, and of the ids drawn for this batch."""

    def __init__(self, head: _Head, samples: int, frequencies: Any, seed: int | None) -> None:
        super().__init__(name="sampled_logits")
        samples = check_integer("samples", samples)
        if samples > head.size:
            fix = "With as many samples as ids, it is an ordinary softmax."
            raise bad_argument("samples", samples, f"at most {head.size}, the number of ids", fix)
        chances = _chances(_frequencies(frequencies, head.size), samples)
        self._head = head
        self._samples = samples
        self._ends = np.cumsum(chances).astype("float32")
        self._log_chances = np.log(chances).astype("float32")
        self._seed = keras.random.SeedGenerator(seed)
        self.supports_masking = True

    def call(self, vectors: Any, targets: Any) -> Any:
        """Return logits `(batch, timesteps, 1 + samples)` for vectors and ids of targets."""
        targets = ops.cast(targets, "int32")
        ids = self._draw()
        flat = ops.reshape(targets, (-1,))
        weights, bias = self._head.weights(ops.concatenate([ids, flat]))
        rows = ops.reshape(vectors, (-1, vectors.shape[-1]))
        own = ops.sum(rows * weights[self._samples :], axis=-1, keepdims=True)
        others = ops.matmul(rows, ops.transpose(weights[: self._samples]))
        shift = -ops.cast(ops.take(self._log_chances, ids), others.dtype)
        if bias is not None:
            own = own + ops.expand_dims(bias[self._samples :], -1)
            shift = shift + bias[: self._samples]
        others = others + shift
        # The target has a place of its own.
        others = ops.where(ops.expand_dims(flat, -1) == ids, _EXCLUDED, others)
        logits = ops.concatenate([own, others], axis=-1)
        return ops.reshape(logits, (*ops.shape(targets), 1 + self._samples))

    def _draw(self) -> Any:
        """Draw ids, each with its own probability (systematic sampling, Madow 1949).

        Each id has a segment as long as its probability on a line as long as the number of samples;
        points at a distance of 1, with a random start, fall into distinct segments.
        """
        start = keras.random.uniform((), seed=self._seed)
        points = ops.arange(self._samples, dtype="float32") + start
        places = ops.searchsorted(ops.convert_to_tensor(self._ends), points, side="right")
        return ops.minimum(ops.cast(places, "int32"), self._head.size - 1)


def _frequencies(frequencies: Any, size: int) -> Array:
    if frequencies is None:
        return np.log1p(1 / np.arange(1.0, size + 1))
    array = np.asarray(frequencies, "float64")
    if array.shape != (size,):
        raise bad_argument(
            "frequencies", Description(f"shape {array.shape}"), f"of shape ({size},)"
        )
    if not (np.isfinite(array).all() and (array >= 0).all()):
        raise bad_argument("frequencies", Description("negative or NaN"), "numbers of 0 or more")
    return np.maximum(array, 0.5)  # an id that never occurs must be drawn too


def _chances(frequencies: Array, samples: int) -> Array:
    """Return probabilities up to 1, otherwise in proportion to frequencies, of sum `samples`."""
    chances = np.ones(len(frequencies))
    free = np.full(len(frequencies), fill_value=True)
    while free.any():
        left = samples - (~free).sum()
        chances[free] = frequencies[free] * (left / frequencies[free].sum())
        if chances.max() <= 1:
            break
        free &= chances < 1
        chances = np.where(free, chances, 1.0)
    return chances
