"""From one network to a forecast of any horizon."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from seqkeras._checks import bad_argument
from seqkeras.errors import ArgumentError
from seqkeras.forecasting.frames._covariates import Covariates
from seqkeras.models import encoder_decoder, multi_output, recursive, segment_rnn

#: Called as `builder(features, lookback=..., horizon=...)`, and with covariates as `NetworkSizes`
#: says.
Builder = Callable[..., keras.Model]

#: The builder of each named strategy.
STRATEGIES: dict[str, Builder] = {
    "multi_output": multi_output,
    "recursive": recursive,
    "encoder_decoder": encoder_decoder,
    "segment_rnn": segment_rnn,
}


def default_lookback(horizon: int, season_length: int, room: int) -> int:
    """As many of three seasons as there is room for, and if there is, twice the horizon.

    Args:
        horizon: timesteps to forecast.
        season_length: timesteps of one season.
        room: the longest lookback that the series allow.
    """
    for seasons in (3, 2, 1):
        lookback = max(seasons * season_length, 2 * horizon)
        if lookback <= room:
            return lookback
    return max(1, min(room, 2 * horizon))


def default_batch_size(windows: int) -> int:
    """A hundredth of the windows, from 32 to 1024: small for few, fast for many."""
    return int(np.clip(windows // 100, 32, 1024))


@dataclass(frozen=True)
class NetworkSizes:
    """What a network reads beside the lookback and the horizon.

    Attributes:
        features: of each timestep of the lookback; the first is the target.
        past: how many of them are covariates that are not known over the horizon.
        future: features that are known of each step of the horizon.
        static: numbers that are known of a series.
        categories: sizes of the vocabularies of its categories.
        outputs: numbers that a network answers for each step.
    """

    features: int = 1
    past: int = 0
    future: int = 0
    static: int = 0
    categories: tuple[int, ...] = ()
    outputs: int = 1

    @classmethod
    def of(cls, covariates: Covariates, *, masked: bool, outputs: int = 1) -> "NetworkSizes":
        """Those of a network for covariates; with one more feature if targets may be missing."""
        past, future, words = covariates.past_width, covariates.future_width, covariates.sizes
        static = len(covariates.static) - len(words)
        return cls(1 + masked + past + future, past, future, static, words, outputs)

    @property
    def options(self) -> dict[str, Any]:
        """For a builder: those that there are."""
        sizes = {"future": self.future, "static": self.static, "categories": self.categories}
        found: dict[str, Any] = {name: size for name, size in sizes.items() if size}
        return found if self.outputs == 1 else {**found, "outputs": self.outputs}

    @property
    def answers(self) -> tuple[int, ...]:
        """The shape of the answer to each step."""
        return () if self.outputs == 1 else (self.outputs,)

    def shapes(self, lookback: int, steps: int) -> dict[str, tuple[int, ...]]:
        """The shapes that a network reads, without the batch, by the names of its inputs."""
        widths = {
            "future": (steps, self.future),
            "static": (self.static,),
            "categories": (len(self.categories),),
        }
        extra = {name: shape for name, shape in widths.items() if shape[-1]}
        return {"inputs": (lookback, self.features), **extra}


def build_network(
    model: str | Builder | keras.Model,
    *,
    lookback: int,
    horizon: int,
    season_length: int,
    units: int | tuple[int, ...] | None = None,
    cell: str | None = None,
    normalization: str | None = None,
    sizes: NetworkSizes | None = None,
    counts: bool = False,
) -> keras.Model:
    """A network with fresh weights, `(batch, lookback, features)` to `(batch, steps)`.

    Args:
        model: the name of a strategy, a builder, or a model, which is copied.
        lookback: timesteps that it reads.
        horizon: timesteps to forecast; steps are as many for a named strategy, 1 for
            `"recursive"`, and at most as many for a builder or a model.
        season_length: of the named strategies.
        units: of the named strategies; None is 64.
        cell: of the named strategies; None is `"gru"`.
        normalization: of the named strategies; None is `"last"`, and `"mean_scale"` for counts.
        sizes: of covariates; None for none.
        counts: targets are not scaled, so that a named strategy scales each window by itself.

    Raises:
        ArgumentError: a builder or a model gives something else.
    """
    sizes = sizes or NetworkSizes()
    if isinstance(model, str):
        network = STRATEGIES[model](
            sizes.features,
            lookback=lookback,
            horizon=horizon,
            season_length=season_length,
            units=64 if units is None else units,
            cell="gru" if cell is None else cell,
            normalization=normalization or ("mean_scale" if counts else "last"),
            **sizes.options,
        )
    elif isinstance(model, keras.Model):
        network = model
    else:
        network = _call(model, lookback, horizon, sizes)
    steps = check_network(network, lookback, horizon, sizes)
    if steps < horizon and sizes.past:
        fix = "Give them as future_covariates, or use a network that answers the whole horizon."
        got = f"a network of {steps} steps, whose answers are fed back, for a horizon of {horizon}"
        raise bad_argument("model", got, "one that needs no past_covariates of the horizon", fix)
    return keras.models.clone_model(network) if network is model else network


def roll_forward(
    network: keras.Model,
    context: Any,
    horizon: int,
    *,
    answer: Callable[[Any], Any] = lambda outputs: outputs,
) -> npt.NDArray[np.float32]:
    """Forecasts `horizon` timesteps; a network that answers fewer is fed its own answers.

    Args:
        network: `(batch, lookback, features)` to `(batch, steps)`; the first feature is the target.
        context: `(batch, lookback, features)`, the newest values last. Or a dict with such
            `"inputs"`, in which `"future"` are of the whole horizon, `(batch, horizon, future)`,
            and the last features of the lookback.
        horizon: timesteps to forecast.
        answer: what the network gave as an answer `(batch, steps)`, to be fed back.

    Returns:
        `(batch, horizon)`.
    """
    parts = context if isinstance(context, dict) else {"inputs": context}
    known, steps = parts["inputs"], network.output_shape[1]
    lookback = known.shape[1]
    future = parts.get("future", np.empty((len(known), horizon, 0), np.float32))
    while (done := known.shape[1] - lookback) < horizon:
        ahead = _steps_from(future, done, steps)
        given = {**parts, "inputs": known[:, -lookback:]} | {"future": ahead}
        read = {name: given[name] for name in parts}
        outputs = predict_batches(network, read if isinstance(context, dict) else read["inputs"])
        rows = _as_rows(answer(outputs), ahead, known.shape[2])
        known = np.concatenate([known, rows], axis=1)
    return known[:, lookback : lookback + horizon, 0]


def _steps_from(future: npt.NDArray[Any], first: int, steps: int) -> npt.NDArray[Any]:
    """Some steps; behind the last one, for answers that are cut off, it stands again."""
    return future[:, np.minimum(np.arange(first, first + steps), future.shape[1] - 1)]


def _as_rows(
    answer: npt.NDArray[Any], ahead: npt.NDArray[Any], features: int
) -> npt.NDArray[np.float32]:
    """Answers as rows of a lookback: the flag of an observed value, if there is one, is 1."""
    flags = np.ones((*answer.shape, features - 1 - ahead.shape[2]), np.float32)
    return np.concatenate([answer[..., np.newaxis], flags, ahead], axis=2)


def predict_batches(
    network: keras.Model, context: Any, batch_size: int = 4096
) -> npt.NDArray[np.float32]:
    """The answers to an array or a dict of arrays, a batch after the other."""
    # Not predict(), which costs 40 ms a call for its loop and its callbacks.
    parts = in_parts(context, batch_size)
    return np.concatenate([network.predict_on_batch(part) for part in parts])


def in_parts(context: Any, rows: int) -> Iterator[Any]:
    """An array, or a dict of arrays, in parts of at most so many rows."""
    parts = context if isinstance(context, dict) else {"inputs": context}
    for first in range(0, len(parts["inputs"]), rows):
        some = {name: part[first : first + rows] for name, part in parts.items()}
        yield some if isinstance(context, dict) else some["inputs"]


def _call(builder: Builder, lookback: int, horizon: int, sizes: NetworkSizes) -> Any:
    options = {"lookback": lookback, "horizon": horizon, **sizes.options}
    try:
        return builder(sizes.features, **options)
    except (TypeError, ArgumentError) as error:
        call = ", ".join(f"{name}={value}" for name, value in options.items())
        raise ArgumentError(
            f"model must be a builder that takes model({sizes.features}, {call}). It said: {error}"
        ) from error


def check_network(network: Any, lookback: int, horizon: int, sizes: NetworkSizes) -> int:
    """The steps of a network, if it reads and answers what it must.

    Raises:
        ArgumentError: it does not.
    """
    shapes = {name: (None, *one) for name, one in sizes.shapes(lookback, horizon).items()}
    wanted = shapes["inputs"] if len(shapes) == 1 else shapes
    shown = str(wanted).replace("None", "batch").replace("'", "")
    gives = ", ".join(map(str, ("batch", "steps", *sizes.answers)))
    expected = f"a keras.Model of {shown} to ({gives}), with steps from 1 to {horizon}"
    if not isinstance(network, keras.Model):
        raise bad_argument("model", network, expected)
    try:
        reads, writes = input_shapes(network), network.output_shape
    except (AttributeError, ValueError) as error:
        fix = "Functional models have these shapes, and Sequential ones that begin with an Input."
        raise bad_argument("model", network, expected, fix) from error
    answers = isinstance(writes, tuple) and writes[2:] == sizes.answers
    answers = answers and len(writes) > 1 and writes[1] is not None
    if answers and "future" in shapes:
        shapes["future"] = (None, writes[1], sizes.future)
    if isinstance(reads, tuple):
        reads = {"inputs": reads} if len(shapes) == 1 else {"": reads}
    if not (answers and writes[1] <= horizon and _alike(reads, shapes)):
        raise ArgumentError(
            f"model must give {expected}. Got: {input_shapes(network)} to {writes}."
        )
    return int(writes[1])


def input_shapes(network: keras.Model) -> Any:
    """Of a network of one input its shape, of one of a dict of inputs their shapes by name."""
    if not isinstance(network.input, dict):
        return network.input_shape
    return {name: tuple(one.shape) for name, one in network.input.items()}


def _alike(reads: Any, shapes: dict[str, Any]) -> bool:
    """Whether inputs have these names and shapes; they may leave their timesteps open."""
    if not isinstance(reads, dict) or set(reads) != set(shapes):
        return False
    return all(
        len(reads[name]) == len(shape)
        and all(size in (must, None) for size, must in zip(reads[name], shape, strict=True))
        and reads[name][-1] == shape[-1]
        and reads[name][0] is None
        for name, shape in shapes.items()
    )
