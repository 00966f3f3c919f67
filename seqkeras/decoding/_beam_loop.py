"""A Keras model that searches the likeliest tokens of another model, in one compiled loop."""

import math
from typing import Any, NamedTuple

import keras
from keras import ops

from seqkeras.decoding._finished_beams import FinishedBeams
from seqkeras.decoding._penalties import Penalties
from seqkeras.decoding._token_step import Start, TokenStep
from seqkeras.stepwise._loops import batch_first, noted, run_loop


class Choice(NamedTuple):
    """The live beams after a step, `(batch, beams)`, the likeliest first.

    Attributes:
        ids: the id that each read last.
        parents: its place among the live beams before.
        scores: its log-probability; -inf in places without a beam.
    """

    ids: Any
    parents: Any
    scores: Any


class BeamLoop(keras.Model):
    """Reads prompts or sources, and follows the likeliest continuations of each row.

    Its `predict_on_batch` takes the inputs of the step and of the rules, and:

        steps: any array with as many rows as there are tokens at most.
        min_length: number of tokens before which no beam may stop, `(1,)`.
        stops: the ids at which a beam stops.
        is_nbest: flags `(beams,)`, True at the last finished beam that is returned.
        length_penalty, coverage_penalty: `(1,)`.
    """

    def __init__(self, step: TokenStep, beams: int, *, has_stop: bool, has_coverage: bool) -> None:
        super().__init__(name="beam", dtype="float32", autocast=False)
        self.step = step
        self.beams = beams
        self.has_stop = has_stop
        self.has_coverage = has_coverage
        self.step_layers = step.layers  # Keras then tracks their variables as the loop's
        self.built = True

    def call(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """Return what `read_back` needs: the choices of each step, and the beams at the end."""
        start = self.step.begin(inputs)
        length = ops.shape(inputs["steps"])[0]
        constants = self._for_beams(start.constants)
        addend_of_live = ops.where(inputs["is_stop"], -math.inf, inputs["addend"])
        penalties = Penalties(inputs["length_penalty"], inputs["coverage_penalty"], start.is_source)

        def body(
            i: Any, done: Any, moving: Any, live: Any, coverage: Any, finished: Any, *history: Any
        ) -> Any:
            live, finished = Choice(*live), FinishedBeams(*finished)
            ids = ops.reshape(live.ids, (-1,))
            logits, moving, weights = self.step(ids, moving, constants)
            logits = ops.cast(logits, "float32")
            weights = self._by_row(weights) if weights is not None else None
            totals = live.scores - self._by_row(ops.logsumexp(logits, axis=-1))
            chosen = self._chosen(logits + addend_of_live, totals)
            coverage = coverage + weights if coverage is not None else None
            if self.has_stop:
                stopped = self._stopped(logits, totals, chosen, i, inputs)
                stopped = _ranked(stopped, coverage, penalties)
                finished = finished.merged(stopped, done)
                done = self._done(done, finished, chosen, penalties.factor(length), inputs)
            history = noted(history, i, (*chosen, weights))
            moving, coverage = self._moved(chosen.parents, moving, coverage)
            return done, moving, tuple(chosen), coverage, tuple(finished), *history

        done, _, live, coverage, finished, *history = run_loop(
            length,
            body,
            self._carry(start, length),
            goes_on=lambda done, *_: ops.logical_not(ops.all(done)),
        )
        live_scores = penalties.score(Choice(*live).scores, length, coverage)
        steps = zip(("ids", "parents", "totals", "attention"), history, strict=True)
        ended = zip(FinishedBeams._fields, finished, strict=True)
        return {
            **{f"step_{name}": batch_first(part) for name, part in steps if part is not None},
            **{f"finished_{name}": part for name, part in ended},
            "live_scores": live_scores,
            "done": done,
        }

    def _carry(self, start: Start, length: Any) -> tuple[Any, ...]:
        """Return what the loop starts with: one live beam in each row, and room for the choices."""
        rows = ops.shape(start.ids)[0]
        ids = ops.repeat(start.ids[:, None], self.beams, axis=1)
        is_first = ops.arange(self.beams) < 1
        scores = ops.where(is_first, 0.0, -math.inf) + ops.zeros((rows, 1))
        live = Choice(ids, ops.zeros_like(ids), scores)
        attention = coverage = None
        if self.step.has_attention:
            timesteps = ops.shape(start.is_source)[1]
            attention = ops.zeros((length, rows, self.beams, timesteps), "float32")
            if self.has_coverage:
                coverage = ops.zeros((rows, self.beams, timesteps), "float32")
        chosen = [ops.zeros((length, rows, self.beams), part.dtype) for part in live]
        return (
            ops.zeros((rows,), "bool"),
            self._for_beams(start.moving),
            tuple(live),
            coverage,
            tuple(FinishedBeams.none(rows, self.beams)),
            *chosen,
            attention,
        )

    def _chosen(self, logits: Any, totals: Any) -> Choice:
        """Return the likeliest continuations that do not stop."""
        # First within each beam, and then among these: no sorting of beams times vocabulary.
        logits, ids = ops.top_k(logits, self.beams)
        scores = self._by_row(logits) + totals[..., None]
        flat = (-1, self.beams * self.beams)
        scores, places = ops.top_k(ops.reshape(scores, flat), self.beams)
        ids = ops.take_along_axis(ops.reshape(ids, flat), places, axis=1)
        return Choice(_integers(ids), _integers(places // self.beams), scores)

    def _stopped(
        self, logits: Any, totals: Any, chosen: Choice, i: Any, inputs: dict[str, Any]
    ) -> FinishedBeams:
        """Return the continuations that stop and are among the likeliest of all, unranked."""
        stops = inputs["stops"]
        count = stops.shape[0]
        scores = ops.take(logits + inputs["addend"], stops, axis=1)
        scores = self._by_row(scores) + totals[..., None]
        scores = ops.where(i < inputs["min_length"], -math.inf, scores)
        scores = ops.reshape(scores, (-1, self.beams * count))
        totals, places = ops.top_k(ops.concatenate([chosen.scores, scores], axis=1), self.beams)
        places = _integers(places) - self.beams
        totals = ops.where(places >= 0, totals, -math.inf)
        places = ops.maximum(places, 0)
        steps = ops.zeros_like(places) + i
        return FinishedBeams(
            totals, totals, steps, places // count, ops.take(stops, places % count)
        )

    def _done(
        self,
        done: Any,
        finished: FinishedBeams,
        chosen: Choice,
        largest_factor: Any,
        inputs: dict[str, Any],
    ) -> Any:
        """Return which rows need no further step.

        Those with as many finished beams as there are beams, and those in which no live beam can
        get a better score than the last finished one that is returned: a log-probability only
        falls, and the penalty divides it by most at the largest length.
        """
        is_full = ops.all(finished.scores > -math.inf, axis=1)
        worst = ops.min(ops.where(inputs["is_nbest"], finished.scores, math.inf), axis=1)
        can_win = chosen.scores[:, 0] / largest_factor > worst
        return done | is_full | ops.logical_not(can_win)

    def _moved(self, parents: Any, moving: Any, coverage: Any) -> tuple[Any, Any]:
        """Return what belongs to the live beams before a step, for those after it."""
        rows = ops.arange(ops.shape(parents)[0], dtype="int32")[:, None]
        places = ops.reshape(rows * self.beams + parents, (-1,))
        moving = tuple(ops.take(array, places, axis=0) for array in moving)
        if coverage is not None:
            coverage = ops.take_along_axis(coverage, parents[..., None], axis=1)
        return moving, coverage

    def _for_beams(self, arrays: Any) -> tuple[Any, ...]:
        return tuple(ops.repeat(array, self.beams, axis=0) for array in arrays)

    def _by_row(self, array: Any) -> Any:
        """Return an array `(batch * beams, ...)` as `(batch, beams, ...)`."""
        # Not -1: TensorFlow would forget the number of rows, beside an unknown number of timesteps.
        rows, *shape = ops.shape(array)
        return ops.reshape(array, (rows // self.beams, self.beams, *shape))


def _ranked(stopped: FinishedBeams, coverage: Any, penalties: Penalties) -> FinishedBeams:
    if coverage is not None:
        coverage = ops.take_along_axis(coverage, stopped.parents[..., None], axis=1)
    scores = penalties.score(stopped.totals, stopped.steps + 1, coverage)
    return stopped._replace(scores=scores)


def _integers(array: Any) -> Any:
    return ops.cast(array, "int32")
