"""The step function of a language model."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from seqkeras._checks import Description, bad_argument
from seqkeras.decoding._id_arrays import check_ids, id_limit, id_rows, padded
from seqkeras.decoding._token_step import Start
from seqkeras.kernels import where_rows
from seqkeras.stepwise._loops import run_loop
from seqkeras.stepwise._model_step import ModelStep, output_spec
from seqkeras.stepwise._runner import Runner
from seqkeras.stepwise._validate import TRIED_ROWS, TRIED_TIMESTEPS, check_unsure

_LANGUAGE_MODEL = "a language model, from ids (batch, timesteps) to logits for each token"


class LanguageStep:
    """Runs a language model one token at a time; see `TokenStep`.

    Args:
        model: a built functional or Sequential model from ids `(batch, timesteps)` to logits for
            each timestep or after the last one.

    Raises:
        ArgumentError: the model cannot be run one timestep at a time, or is no language model.
    """

    has_attention = False
    needs_start = False

    def __init__(self, model: Any) -> None:
        self.step = ModelStep(model)
        self.name = self.step.name
        self.layers = self.step.layers
        self.vocabulary_size = _vocabulary_size(self.step)
        refuse_probabilities(self.step.graph)
        self.masks_zero = _reads_masks(self.step)
        sequence = next(
            tensor
            for tensor, kind in zip(self.step.graph.inputs, self.step.input_kinds, strict=True)
            if kind
        )
        self._limit = id_limit(self.step.graph, sequence)
        if self._limit is not None and self._limit < self.vocabulary_size:
            actual = f"{self.name}, which reads ids below {self._limit}"
            expected = f"a model that reads each of the {self.vocabulary_size} ids it predicts"
            raise bad_argument("model", Description(actual), expected)
        if self.step.unsure:
            check_unsure(Runner(self.step, None, None), self._tried_ids())

    def inputs(self, prompts: Any, start: int | None) -> dict[str, npt.NDArray[Any]]:
        """Check prompts, and return them padded, with their lengths."""
        rows = id_rows("prompts", prompts)
        limit = self._limit or self.vocabulary_size
        if start is not None:
            rows = [np.concatenate([[start], row]).astype("int32") for row in rows]
        for number, row in enumerate(rows):
            check_ids(f"row {number} of prompts", row, limit, self.masks_zero)
            if not len(row):
                fix = "Pass start=, the id of the token before the first one, or a longer prompt."
                raise bad_argument(
                    "prompts", Description(f"no token in row {number}"), "not empty", fix
                )
        lengths = np.array([len(row) for row in rows], "int32")
        # Few widths, so few compilations; the loop ends with the longest prompt.
        width = 1 << int(lengths.max() - 1).bit_length()
        return {"prompts": padded(rows, width), "prompt_lengths": lengths}

    def begin(self, inputs: Mapping[str, Any]) -> Start:
        """Read each prompt up to the token before its last."""
        prompts = ops.swapaxes(inputs["prompts"], 0, 1)
        last = inputs["prompt_lengths"] - 1

        def body(i: Any, state: Any) -> Any:
            _, after, _ = self.step(self._timestep(ops.take(prompts, i, axis=0)), state)
            return (where_rows(i < last, after, state),)

        (state,) = run_loop(ops.max(last), body, (self.step.initial_state(ops.shape(last)[0]),))
        ids = ops.take_along_axis(prompts, last[None], axis=0)[0]
        return Start(ids, state, (), None)

    def __call__(self, ids: Any, moving: tuple[Any, ...], constants: tuple[Any, ...]) -> Any:
        """Read one token of each row."""
        logits, moving, _ = self.step(self._timestep(ids), moving)
        return logits, moving, None

    def _tried_ids(self) -> npt.NDArray[np.int32]:
        """Return ids to compare single steps with whole sequences on."""
        random = np.random.default_rng(0)
        ids = random.integers(1, self.vocabulary_size, (TRIED_ROWS, TRIED_TIMESTEPS))
        return ids.astype("int32")

    def _timestep(self, ids: Any) -> Any:
        return ops.cast(ids, self.step.timestep.dtype)


def _vocabulary_size(step: ModelStep) -> int:
    if len(step.timestep.shape) != 1:
        shape = Description(f"{step.name} with timesteps of shape {step.timestep.shape}")
        raise bad_argument("model", shape, _LANGUAGE_MODEL)
    logits = step.output_like
    if not hasattr(logits, "shape") or len(logits.shape) != 2:
        actual = Description(f"{step.name} with outputs {logits}")
        raise bad_argument("model", actual, _LANGUAGE_MODEL)
    return int(logits.shape[1])


def _reads_masks(step: ModelStep) -> bool:
    x = ops.zeros((1,), step.timestep.dtype)
    flags: list[bool] = []

    def run(x: Any) -> Any:
        output, _, used = step(x, step.initial_state(1))
        flags.append(used is not None)
        return output

    output_spec(run, x)
    return flags[-1]


def refuse_probabilities(graph: Any) -> None:
    """Raise an error if the last layer of a model returns probabilities instead of logits."""
    last = graph.calls[-1].operation if graph.calls else None
    activation = getattr(getattr(last, "layer", last), "activation", None)
    if isinstance(last, keras.layers.Softmax) or activation is keras.activations.softmax:
        actual = Description(f"{graph.model.name} with a softmax as its last layer")
        fix = "Omit the softmax, and train with from_logits=True. The weights stay the same."
        raise bad_argument("model", actual, "a model whose outputs are logits", fix)
