"""Search the likeliest tokens of a language model or an encoder-decoder."""

from typing import Any

import keras
import numpy as np

from seqkeras._checks import Description, bad_argument, check_integer, check_not_negative
from seqkeras.decoding._beam_loop import BeamLoop
from seqkeras.decoding._beams import Beams
from seqkeras.decoding._generate import check_length, check_pad, refuse_nan
from seqkeras.decoding._read_back import read_back
from seqkeras.decoding._rules import Rules
from seqkeras.decoding._steps_of import steps_of
from seqkeras.decoding._token_step import TokenStep


def beam(
    model: keras.Model,
    prompts: Any,
    length: int,
    *,
    beams: int = 5,
    nbest: int = 1,
    length_penalty: float = 0.6,
    coverage_penalty: float = 0.0,
    min_length: int = 0,
    stop: Any = (),
    forbid: Any = (),
    start: int | None = None,
    pad: int = 0,
) -> Beams:
    """Search the likeliest tokens: at each step, the likeliest beginnings of all are continued.

    A beam that meets a stop id is finished: it is frozen and ranked by its score. A row ends when
    as many beams have finished as there are beams, or when no live beam can get a better score than
    the last finished one that is returned. With a single beam, the tokens are those of `generate`
    at temperature 0. All steps run in one compiled loop (an eager loop on PyTorch), which stops
    when each row has ended.

    The score is that of Wu et al. 2016 (arXiv 1609.08144), equation 14: the log-probability,
    divided by `((5 + tokens) / 6) ** length_penalty`, plus `coverage_penalty` times the sum over
    the source timesteps of `log(min(attention, 1))`, with the attention that the timestep got from
    all tokens.

    Args:
        model, prompts, stop, forbid, start, pad: as in `generate`.
        length: the largest number of tokens.
        beams: number of live beams, at most the size of the vocabulary.
        nbest: number of sequences to return for each row, at most `beams`.
        length_penalty: above 0, longer sequences are ranked higher, default 0.6; 0 ranks by the
            log-probability.
        coverage_penalty: above 0, finished beams that left out a part of the source are ranked
            lower, default 0. It needs a model with attention.
        min_length: number of tokens before which no beam may stop, default 0.

    Returns:
        The best sequences of each row, with their scores.

    Raises:
        ArgumentError: the model cannot be decoded step by step, or an argument is unusable.

    Example:
        >>> from seqkeras.models import language_model
        >>> model = language_model(20, embedding=4, units=8)
        >>> likeliest = beam(model, [[1, 2, 3], [4]], 10, beams=4, nbest=2, stop=0)
        >>> likeliest.ids.shape
        (2, 2, 10)
    """
    length = check_length(length)
    pad = check_pad(pad)
    length_penalty = check_not_negative("length_penalty", length_penalty)
    coverage_penalty = check_not_negative("coverage_penalty", coverage_penalty)
    if check_integer("min_length", min_length, minimum=0) > length:
        raise bad_argument("min_length", min_length, f"at most the length, {length}")
    beams = check_integer("beams", beams)
    loops = steps_of(model)
    step = loops.step
    _check_sizes(step, beams, nbest, coverage_penalty)
    rules = Rules.of(step, start, stop, forbid)
    inputs = {
        **step.inputs(prompts, rules.start),
        **rules.arrays(),
        "stops": rules.stop,
        "steps": np.zeros(length, "int8"),
        "min_length": np.array([min_length], "int32"),
        "is_nbest": np.arange(beams) == nbest - 1,
        "length_penalty": np.array([length_penalty], "float32"),
        "coverage_penalty": np.array([coverage_penalty], "float32"),
    }
    options = {"has_stop": len(rules.stop) > 0, "has_coverage": coverage_penalty > 0}
    key = ("beam", beams, *options.values())
    loop = loops.loop(key, lambda: BeamLoop(step, beams, **options))
    results = read_back(loop.predict_on_batch(inputs), nbest, pad)
    refuse_nan(results.scores)
    return results


def _check_sizes(step: TokenStep, beams: int, nbest: Any, coverage_penalty: float) -> None:
    if beams > step.vocabulary_size:
        expected = f"at most {step.vocabulary_size}, the size of the vocabulary"
        raise bad_argument("beams", beams, expected)
    if check_integer("nbest", nbest) > beams:
        raise bad_argument("nbest", nbest, f"at most beams, {beams}", "Search with more beams.")
    if coverage_penalty and not step.has_attention:
        actual = Description(f"{coverage_penalty} for {step.name}, which has no attention")
        raise bad_argument("coverage_penalty", actual, "0 without attention")
