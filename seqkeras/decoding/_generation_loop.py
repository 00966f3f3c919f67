"""A Keras model that draws tokens from another model, in one compiled loop."""

from typing import Any

import keras
from keras import ops

from seqkeras.decoding._sampling import Sampling
from seqkeras.decoding._token_step import TokenStep
from seqkeras.stepwise._loops import batch_first, draw, noted, run_loop


class GenerationLoop(keras.Model):
    """Reads prompts or sources, and draws tokens until each row met a stop id.

    Its `predict_on_batch` takes the inputs of the step and of the rules, and:

        steps: any array with as many rows as there are tokens to draw at most.
        temperature, top_p: `(1,)`.
        seed: the state of a `SeedGenerator`, unless it is greedy.
    """

    def __init__(self, step: TokenStep, sampling: Sampling) -> None:
        super().__init__(name="generate", dtype="float32", autocast=False)
        self.step = step
        self.sampling = sampling
        self.step_layers = step.layers  # Keras then tracks their variables as the loop's
        self.generator = keras.random.SeedGenerator(0)
        self.built = True

    def call(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """Return ids and log-probabilities `(batch, steps)`, lengths and flags `(batch,)`."""
        ids, moving, constants, is_source = self.step.begin(inputs)
        length = ops.shape(inputs["steps"])[0]
        rows = ops.shape(ids)[0]
        tokens = ops.zeros((length, rows), "int32")
        attention = None
        if self.step.has_attention:
            attention = ops.zeros((length, *ops.shape(is_source)), "float32")
        history = (tokens, ops.zeros((length, rows), "float32"), attention)
        finished = ops.zeros((rows,), "bool")
        lengths = ops.zeros((rows,), "int32")

        def body(
            i: Any, ids: Any, moving: Any, finished: Any, lengths: Any, seed: Any, *history: Any
        ) -> Any:
            logits, moving, weights = self.step(ids, moving, constants)
            logits = ops.cast(logits, "float32")
            ids, seed = self._drawn(logits + inputs["addend"], inputs, seed)
            history = noted(history, i, (ids, _log_probability(logits, ids), weights))
            lengths = ops.where(finished, lengths, i + 1)
            finished = ops.logical_or(finished, ops.take(inputs["is_stop"], ids))
            return ids, moving, finished, lengths, seed, *history

        _, _, finished, lengths, _, *columns = run_loop(
            length,
            body,
            (ids, moving, finished, lengths, inputs.get("seed"), *history),
            goes_on=lambda _ids, _moving, finished, *_: ops.logical_not(ops.all(finished)),
        )
        names = ("ids", "log_probabilities", "attention")
        results = {
            name: batch_first(array)
            for name, array in zip(names, columns, strict=True)
            if array is not None
        }
        return {**results, "lengths": lengths, "finished": finished}

    def _drawn(self, logits: Any, inputs: dict[str, Any], seed: Any) -> tuple[Any, Any]:
        if seed is None:
            return self.sampling(logits, None, None, None), None
        temperature, top_p = inputs["temperature"], inputs["top_p"]
        return draw(
            lambda: self.sampling(logits, temperature, top_p, self.generator), self.generator, seed
        )


def _log_probability(logits: Any, ids: Any) -> Any:
    chosen = ops.take_along_axis(logits, ids[:, None], axis=-1)[:, 0]
    return chosen - ops.logsumexp(logits, axis=-1)
