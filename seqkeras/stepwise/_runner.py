"""A Keras model that runs another model step by step, in one compiled loop."""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops, tree

from seqkeras.kernels import where_rows
from seqkeras.stepwise._loops import batch_first, draw, empty, run_loop, written
from seqkeras.stepwise._model_step import ModelStep

Function = Callable[..., Any]


class Runner(keras.Model):
    """Warms up on a context and feeds outputs back, in two loops of one graph.

    Its `predict_on_batch` is compiled if the backend compiles: traced once for each shape of its
    inputs, with the weights as variables. It takes a dict:

        context: `(batch, timesteps, ...)`.
        future: `(batch, timesteps, covariates)`, optional.
        steps: any array with as many rows as there are steps. Without it, the runner returns the
            outputs at every timestep of the context instead.
        seed: the state of a `SeedGenerator`, if there is a `sample`.
    """

    def __init__(self, step: ModelStep, feedback: Function | None, sample: Function | None) -> None:
        # It has no weights of its own, so its precision does not matter, but autocast would change
        # the dtype of its inputs.
        super().__init__(name="rollout", dtype="float32", autocast=False)
        self.step = step
        self.feedback = feedback
        self.sample = sample
        self.step_layers = step.layers  # Keras then tracks their variables as the runner's
        self.generator = keras.random.SeedGenerator(0)
        self.checked: set[Any] = set()
        self.built = True

    def call(self, inputs: dict[str, Any]) -> Any:
        """Return the outputs, `(batch, steps, ...)`, or a structure of them."""
        context = ops.swapaxes(inputs["context"], 0, 1)
        if "steps" not in inputs:
            return self._every_output(context)
        steps = ops.shape(inputs["steps"])[0]
        future = inputs.get("future")
        future = ops.swapaxes(future, 0, 1) if future is not None else None
        output, state = self._warmed_up(context)
        value, seed = self._drawn(output, inputs.get("seed"))
        values = tree.map_structure(lambda array: written(empty(array, steps), 0, array), value)

        def body(i: Any, output: Any, state: Any, value: Any, seed: Any, values: Any) -> Any:
            covariates = (ops.take(future, i, axis=0),) if future is not None else ()
            x = self.next_input(value, *covariates)
            output, state = self._stepped(x, state, output)
            value, seed = self._drawn(output, seed)
            values = tree.map_structure(
                lambda arrays, array: written(arrays, i + 1, array), values, value
            )
            return output, state, value, seed, values

        *_, values = run_loop(steps - 1, body, (output, state, value, seed, values))
        return tree.map_structure(batch_first, values)

    def _warmed_up(self, context: Any) -> tuple[Any, Any]:
        def body(i: Any, output: Any, state: Any) -> Any:
            x = ops.take(context, i, axis=0)
            return self._stepped(x, state, output, is_first=ops.equal(i, 0))

        return run_loop(ops.shape(context)[0], body, self._initial(context))

    def _every_output(self, context: Any) -> Any:
        timesteps = ops.shape(context)[0]
        output, state = self._initial(context)
        outputs = tree.map_structure(lambda array: empty(array, timesteps), output)

        def body(i: Any, state: Any, outputs: Any) -> Any:
            output, state, _ = self.step(ops.take(context, i, axis=0), state)
            outputs = tree.map_structure(
                lambda arrays, array: written(arrays, i, array), outputs, output
            )
            return state, outputs

        _, outputs = run_loop(timesteps, body, (state, outputs))
        return tree.map_structure(batch_first, outputs)

    def _initial(self, context: Any) -> tuple[Any, Any]:
        rows = ops.shape(context)[1]

        def zeros(like: Any) -> Any:
            return ops.zeros((rows, *like.shape[1:]), like.dtype)

        output = tree.map_structure(zeros, self.step.output_like)
        return output, self.step.initial_state(rows)

    def _stepped(self, x: Any, state: Any, held: Any, is_first: Any = False) -> tuple[Any, Any]:
        """Run one timestep; rows in which it is masked keep the previous output."""
        output, state, used = self.step(x, state)
        if used is not None:
            used = ops.logical_or(used, is_first)
            output = where_rows(used, output, held)
        return output, state

    def _drawn(self, output: Any, seed: Any) -> tuple[Any, Any]:
        if self.sample is None:
            return output, seed
        sample = self.sample
        return draw(lambda: sample(output, self.generator), self.generator, seed)

    def next_input(self, value: Any, *covariates: Any) -> Any:
        """Return the next input, from a value and the covariates of its timestep."""
        if self.feedback is not None:
            x = self.feedback(value, *covariates)
        else:
            x = ops.concatenate([value, *covariates], axis=-1) if covariates else value
        return ops.cast(x, self.step.timestep.dtype)
