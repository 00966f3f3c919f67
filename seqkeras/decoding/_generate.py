"""Draw tokens from a language model or an encoder-decoder, in one compiled loop."""

from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from seqkeras._checks import Description, bad_argument, check_integer
from seqkeras.decoding._generated import Generated
from seqkeras.decoding._generation_loop import GenerationLoop
from seqkeras.decoding._rules import Rules
from seqkeras.decoding._sampling import Sampling, check_temperature, check_top_k, check_top_p
from seqkeras.decoding._steps_of import steps_of


def generate(
    model: keras.Model,
    prompts: Any,
    length: int,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    stop: Any = (),
    forbid: Any = (),
    start: int | None = None,
    pad: int = 0,
    seed: int | None = None,
) -> Generated:
    """Draw tokens one after the other, each given those before it.

    All steps run in one compiled loop (an eager loop on PyTorch), which stops when each row has met
    a stop id. Each call uses the current weights of the model. The state of a stateful model is
    neither read nor changed, and its batch size does not matter.

    Args:
        model: a language model: a built functional or Sequential model from ids
            `(batch, timesteps)` to logits for each timestep or after the last one. Or an
            encoder-decoder: a functional model with one decoder layer, such as
            `seqkeras.layers.SequenceDecoder`, whose logits are its output.
        prompts: for a language model, the tokens to continue: a list of 1-D arrays of ids, of any
            lengths, or an array `(batch, timesteps)`. For an encoder-decoder, its sources: such a
            list, which is padded with 0, or the array that the model reads, or a dict of arrays if
            the encoder has several inputs.
        length: the largest number of tokens to draw for each row.
        temperature: divides the logits, default 1. Below 1, likely tokens become likelier; 0 takes
            the likeliest token (greedy).
        top_k: draw only among this many likeliest tokens (Fan et al. 2018, arXiv 1805.04833).
        top_p: draw only among the fewest likeliest tokens whose probabilities, at this temperature
            and among the `top_k`, reach `top_p` together (Holtzman et al. 2020, arXiv 1904.09751).
        stop: an id, or several, at which a row ends.
        forbid: an id, or several, that must not be drawn. A model that masks id 0 never draws it.
        start: the id that is read before the first token: required for an encoder-decoder; for a
            language model, it is put before each prompt.
        pad: the id after the end of a row, default 0.
        seed: the same seed draws the same tokens from a model on one backend. Default: new tokens
            at each call.

    Returns:
        The tokens, with their log-probabilities, and whether each row met its end.

    Raises:
        ArgumentError: the model cannot be decoded step by step, or an argument is unusable.

    Example:
        >>> from seqkeras.models import language_model
        >>> model = language_model(20, embedding=4, units=8)
        >>> drawn = generate(model, [[1, 2, 3], [4]], 10, top_k=5, stop=0, seed=1)
        >>> drawn.ids.shape, drawn.finished.shape
        ((2, 10), (2,))
    """
    length = check_length(length)
    pad = check_pad(pad)
    temperature = check_temperature(temperature)
    top_p = check_top_p(top_p)
    seed = check_integer("seed", seed, minimum=0) if seed is not None else None
    loops = steps_of(model)
    step = loops.step
    top_k = check_top_k(top_k, step.vocabulary_size)
    rules = Rules.of(step, start, stop, forbid)
    inputs = {
        **step.inputs(prompts, rules.start),
        **rules.arrays(),
        "steps": np.zeros(length, "int8"),
    }
    is_greedy = temperature == 0
    if not is_greedy:
        inputs["seed"] = ops.convert_to_numpy(keras.random.SeedGenerator(seed).state.value)
        inputs["temperature"] = np.array([temperature], "float32")
        inputs["top_p"] = np.array([top_p or 1], "float32")
    sampling = Sampling(is_greedy, *((None, False) if is_greedy else (top_k, top_p is not None)))
    loop = loops.loop(("generate", sampling), lambda: GenerationLoop(step, sampling))
    return _result(loop.predict_on_batch(inputs), pad)


def _result(values: dict[str, npt.NDArray[Any]], pad: int) -> Generated:
    """Return the results of a loop, without what was drawn after the end of rows."""
    lengths = values["lengths"]
    is_after = np.arange(values["ids"].shape[1]) >= lengths[:, None]
    log_probabilities = np.where(is_after, np.float32(0), values["log_probabilities"])
    refuse_nan(log_probabilities)
    attention = values.get("attention")
    if attention is not None:
        attention = np.where(is_after[..., None], np.float32(0), attention)
    return Generated(
        ids=np.where(is_after, np.int32(pad), values["ids"]),
        lengths=lengths,
        finished=values["finished"],
        log_probabilities=log_probabilities,
        attention=attention,
    )


def check_length(value: Any) -> int:
    """Return the largest number of tokens as an int."""
    return check_integer("length", value)


def check_pad(value: Any) -> int:
    """Return the id of padding as an int; it need not be in the vocabulary."""
    value = check_integer("pad", value, minimum=-(2**31))
    if value >= 2**31:
        raise bad_argument("pad", value, "an id that fits int32")
    return value


def refuse_nan(log_probabilities: npt.NDArray[np.float32]) -> None:
    """Raise an error if log-probabilities show that the logits of the model are NaN."""
    if np.isnan(log_probabilities).any():
        actual = Description("NaN as the logarithm of a probability")
        fix = "Training that diverged leaves such weights."
        raise bad_argument("model", actual, "a model whose logits are finite", fix)
