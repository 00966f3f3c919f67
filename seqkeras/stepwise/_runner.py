"""The compiled loop of a rollout: one Keras model that walks through another."""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops, tree

from seqkeras.kernels import where_rows
from seqkeras.stepwise._stepwise import Stepwise

Function = Callable[..., Any]


class Runner(keras.Model):
    """Warms up on a context and feeds outputs back, in the two loops of one graph.

    Its `predict_on_batch` is compiled where the backend compiles: traced once for each shape of
    its inputs, with the weights as variables. It takes a dict:

        context: `(batch, timesteps, ...)`.
        future: `(batch, timesteps, covariates)`, or left out.
        steps: any array with as many rows as there are steps. Left out, it gives the outputs at
            every timestep of the context instead.
        seed: the state of a `SeedGenerator`, where there is a `sample`.
    """

    def __init__(self, step: Stepwise, feedback: Function | None, sample: Function | None) -> None:
        # Its own precision is of no matter, but a cast of its inputs would be.
        super().__init__(name="rollout", dtype="float32", autocast=False)
        self.step, self.feedback, self.sample = step, feedback, sample
        self.walked = step.layers  # their variables are the runner's; the model is not held
        self.generator = keras.random.SeedGenerator(0)
        self.checked: set[Any] = set()
        self.built = True

    def call(self, inputs: dict[str, Any]) -> Any:
        """The outputs, `(batch, steps, ...)`, or a structure of them."""
        context = ops.swapaxes(inputs["context"], 0, 1)
        if "steps" not in inputs:
            return self._every_output(context)
        held, state = self._warmed_up(context)
        steps, future = ops.shape(inputs["steps"])[0], inputs.get("future")
        future = None if future is None else ops.swapaxes(future, 0, 1)
        value, seed = self._drawn(held, inputs.get("seed"))
        kept = tree.map_structure(lambda one: _written(_empty(one, steps), 0, one), value)

        def body(i: Any, held: Any, state: Any, value: Any, seed: Any, kept: Any) -> Any:
            known = () if future is None else (ops.take(future, i, axis=0),)
            held, state = self._stepped(self.fed(value, *known), state, held)
            value, seed = self._drawn(held, seed)
            kept = tree.map_structure(lambda all_, one: _written(all_, i + 1, one), kept, value)
            return held, state, value, seed, kept

        *_, kept = _loop(steps - 1, body, (held, state, value, seed, kept))
        return tree.map_structure(lambda one: ops.swapaxes(one, 0, 1), kept)

    def _warmed_up(self, context: Any) -> tuple[Any, Any]:
        def body(i: Any, held: Any, state: Any) -> Any:
            return self._stepped(ops.take(context, i, axis=0), state, held, first=ops.equal(i, 0))

        return _loop(ops.shape(context)[0], body, self._begun(context))

    def _every_output(self, context: Any) -> Any:
        timesteps = ops.shape(context)[0]
        output, state = self._begun(context)
        kept = tree.map_structure(lambda one: _empty(one, timesteps), output)

        def body(i: Any, state: Any, kept: Any) -> Any:
            output, state, _ = self.step(ops.take(context, i, axis=0), state)
            kept = tree.map_structure(lambda all_, one: _written(all_, i, one), kept, output)
            return state, kept

        _, kept = _loop(timesteps, body, (state, kept))
        return tree.map_structure(lambda one: ops.swapaxes(one, 0, 1), kept)

    def _begun(self, context: Any) -> tuple[Any, Any]:
        rows = ops.shape(context)[1]

        def zeros(like: Any) -> Any:
            return ops.zeros((rows, *like.shape[1:]), like.dtype)

        output = tree.map_structure(zeros, self.step.output_like)
        return output, self.step.initial_state(rows)

    def _stepped(self, x: Any, state: Any, held: Any, first: Any = False) -> tuple[Any, Any]:
        """Runs a timestep; where it is masked, the output before is held."""
        output, state, used = self.step(x, state)
        if used is not None:
            used = ops.logical_or(used, first)
            output = where_rows(used, output, held)
        return output, state

    def _drawn(self, output: Any, seed: Any) -> tuple[Any, Any]:
        if self.sample is None:
            return output, seed
        # The seed goes through the loop with the state: JAX lets no variable change in a loop.
        variable = self.generator.state
        with keras.StatelessScope(state_mapping=[(variable, seed)]) as scope:
            return self.sample(output, self.generator), scope.get_current_value(variable)

    def fed(self, value: Any, *known: Any) -> Any:
        """The next input, from the value and what is known of its timestep."""
        if self.feedback is not None:
            x = self.feedback(value, *known)
        else:
            x = ops.concatenate([value, *known], axis=-1) if known else value
        return ops.cast(x, self.step.timestep.dtype)


def _loop(count: Any, body: Function, carry: tuple[Any, ...]) -> tuple[Any, ...]:
    """`carry = body(i, *carry)` for `i` below `count`; None in it stays."""
    # Not ops.scan, which wants outputs shaped as the state on TensorFlow.
    parts = [one is not None for one in carry]

    def full(given: Any) -> list[Any]:
        given = iter(given)
        return [next(given) if part else None for part in parts]

    def next_(i: Any, *given: Any) -> tuple[Any, ...]:
        after = body(i, *full(given))
        return (i + 1, *(one for one, part in zip(after, parts, strict=True) if part))

    start = (ops.zeros((), "int32"), *(one for one in carry if one is not None))
    _, *result = ops.while_loop(lambda i, *_: i < count, next_, start)
    return tuple(full(result))


def _empty(like: Any, count: Any) -> Any:
    return ops.zeros((count, *ops.shape(like)), like.dtype)


def _written(all_: Any, i: Any, one: Any) -> Any:
    return ops.scatter_update(all_, ops.reshape(i, (1, 1)), one[None])
