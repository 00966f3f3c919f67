"""What every builder promises, run over all of them."""

import functools
import itertools
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from types import FunctionType
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from helpers.examples import covering, examples
from helpers.models import outputs_of, randomized, to_numpy
from helpers.stock_keras import Saved, outputs_without_seqkeras
from seqkeras import layers, models, to_keras
from seqkeras.errors import ArgumentError


@dataclass(frozen=True)
class Case:
    """A builder at a small size, and the shapes that belong to it, without the batch."""

    build: Callable[..., keras.Model]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


CASES = {
    "many_to_one": Case(
        functools.partial(models.many_to_one, 3, outputs=2, timesteps=6), (6, 3), (2,)
    ),
    "many_to_many": Case(
        functools.partial(models.many_to_many, 3, outputs=2, timesteps=6), (6, 3), (6, 2)
    ),
    "one_to_many": Case(functools.partial(models.one_to_many, 3, steps=5, outputs=2), (3,), (5, 2)),
    "next_step": Case(functools.partial(models.next_step, 3, timesteps=6), (6, 3), (6, 3)),
    "autoencoder": Case(
        functools.partial(models.autoencoder, 3, timesteps=6, latent=2), (6, 3), (6, 3)
    ),
    "multi_output": Case(
        functools.partial(models.multi_output, 3, lookback=6, horizon=4, season_length=3),
        (6, 3),
        (4,),
    ),
    "recursive": Case(
        functools.partial(models.recursive, 3, lookback=6, horizon=4, season_length=3), (6, 3), (1,)
    ),
    "segment_rnn": Case(
        functools.partial(models.segment_rnn, 3, lookback=6, horizon=4, segment=3), (6, 3), (4,)
    ),
    "encoder_decoder": Case(
        functools.partial(models.encoder_decoder, 3, lookback=6, horizon=4), (6, 3), (4,)
    ),
}
STACKS: dict[str, dict[str, Any]] = {
    "lstm": {"units": 4},
    "gru": {"units": 4, "cell": "gru"},
    "simple_rnn": {"units": 4, "cell": "simple_rnn"},
    "deep": {
        "units": (4, 3),
        "cell": ["gru", "simple_rnn"],
        "dropout": 0.2,
        "recurrent_dropout": 0.1,
    },
    "bidirectional": {"units": (4, 3), "bidirectional": True},
    "two layers": {"units": (4, 3)},
    "keras cell": {"cell": keras.layers.LSTMCell(4)},
    "mixed cells": {"cell": ["gru", keras.layers.LSTMCell(4)]},
    "fixed batch": {"units": 4, "batch_size": 2},
}
FORECASTERS = {"multi_output", "recursive", "segment_rnn", "encoder_decoder"}
STATELESS_ONLY = {"autoencoder", *FORECASTERS}

# `bidirectional` would let next_step read the answer, and the other two go on from the newest
# value. Their own tests hold that it is refused.
ONE_WAY = {"next_step", "segment_rnn", "encoder_decoder"}
PAIRS = [
    (builder, stack)
    for builder in CASES
    for stack in STACKS
    if stack != "bidirectional" or builder not in ONE_WAY
]
every_builder = pytest.mark.parametrize("builder", CASES)
# A quarter of them, in which each builder and each stack occurs twice or so.
CHOSEN_PAIRS = covering(PAIRS, 4)
every_pair = pytest.mark.parametrize(("builder", "stack"), CHOSEN_PAIRS)
# One of each builder, for the other backends.
PORTABLE = {builder: (builder, stack) for builder, stack in CHOSEN_PAIRS}.values()

# These three have all kinds of cells and layers between them.
TELLING = ("deep", "bidirectional", "mixed cells")
# Files hold the same layers, whatever the builder: all three of one builder, and a deep stack of
# the others; on other backends of one other, whose layers are in models within it.
SAVED = [
    (builder, stack)
    for builder, stack in PAIRS
    if (stack in TELLING and builder == "many_to_one")
    or (stack == "deep" and (builder == "autoencoder" or keras.backend.backend() == "tensorflow"))
]


def numbers(case: Case, batch: int = 2) -> np.ndarray:
    """Inputs for a case."""
    return np.random.default_rng(1).normal(size=(batch, *case.inputs)).astype("float32")


@functools.cache
def shared_model(builder, stack):
    """A model with random weights, which tests only read."""
    return randomized(CASES[builder].build(**STACKS[stack]), scale=0.4)


def answers_of(model, x, **options):
    return to_numpy(model(x, **options))


def leaf_layers(model: keras.Model) -> list[keras.layers.Layer]:
    """The layers of a model and of the models in it."""
    return [
        leaf
        for layer in model.layers
        for leaf in (leaf_layers(layer) if isinstance(layer, keras.Model) else [layer])
    ]


def test_every_builder_is_held_to_these_promises():
    builders = {
        name
        for name, value in vars(models).items()
        if isinstance(value, FunctionType)
        and value.__module__.startswith(models.__name__)
        and name not in {"recurrent_stack", "encode", "decode", "reconstruct"}
    }
    # These read ids, and are held to their promises by tests of their own.
    builders -= {"classifier", "language_model", "sequence_to_sequence", "tagger"}
    assert builders == CASES.keys()
    assert {builder for builder, _ in CHOSEN_PAIRS} == CASES.keys()
    assert {stack for _, stack in CHOSEN_PAIRS} == STACKS.keys()


@pytest.mark.parametrize(
    ("builder", "stack"),
    [
        pytest.param(*pair, marks=pytest.mark.backends if pair in PORTABLE else [])
        for pair in CHOSEN_PAIRS
    ],
)
def test_shapes_are_those_of_the_builder(builder, stack):
    case = CASES[builder]
    model = shared_model(builder, stack)
    batch = STACKS[stack].get("batch_size")
    assert model.input_shape == (batch, *case.inputs)
    assert model.output_shape == (batch, *case.outputs)
    answers = answers_of(model, numbers(case))
    assert answers.shape == (2, *case.outputs)
    assert answers.dtype == np.float32
    assert np.isfinite(answers).all()


@every_pair
def test_the_model_is_uncompiled_keras(builder, stack):
    model = shared_model(builder, stack)
    assert isinstance(model, keras.Model)
    assert not model.compiled
    classes = [type(part) for part in (model, *leaf_layers(model))]
    own = {cls for cls in classes if not cls.__module__.startswith("keras.")}
    known = {*layers.CELLS.values(), layers.Bidirectional, layers.RepeatLike}
    assert own <= known  # to_keras knows them


@every_builder
def test_the_model_is_named_after_its_builder_or_as_asked(builder):
    build = CASES[builder].build
    assert build(units=4).name == builder
    assert build(units=4, name="mine").name == "mine"


@pytest.mark.backends
def test_saved_models_give_the_same_numbers_where_seqkeras_is_never_imported(tmp_path):
    models_and_parts, expected = [], []
    for number, (builder, stack) in enumerate(SAVED):
        model, x = shared_model(builder, stack), numbers(CASES[builder])
        path = tmp_path / f"{number}.keras"
        to_keras(model).save(path)
        models_and_parts.append(Saved(path, [x]))
        expected += outputs_of(model, x)
        if builder == "autoencoder":
            models_and_parts.append(Saved(path, [x], ("encoder",)))
            expected += outputs_of(model.get_layer("encoder"), x)
    outputs = outputs_without_seqkeras(*models_and_parts)
    for saved, (output,), value in zip(models_and_parts, outputs, expected, strict=True):
        pair = str(SAVED[int(saved.path.stem)])
        np.testing.assert_allclose(output, value, rtol=1e-5, atol=1e-5, err_msg=pair)


def test_without_to_keras_a_saved_model_needs_seqkeras(tmp_path):
    model = shared_model("many_to_one", "lstm")
    model.save(tmp_path / "model.keras")
    with pytest.raises(RuntimeError, match=r"seqkeras\.layers"):
        outputs_without_seqkeras(Saved(tmp_path / "model.keras", [numbers(CASES["many_to_one"])]))


@every_builder
def test_clone_and_pickle_give_the_same_numbers(builder):
    x = numbers(CASES[builder])
    model = shared_model(builder, "two layers")
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    expected = answers_of(model, x)
    for copy in (clone, pickle.loads(pickle.dumps(model))):
        np.testing.assert_allclose(answers_of(copy, x), expected, atol=1e-6)


@every_builder
def test_training_moves_every_weight(builder):
    case = CASES[builder]
    model = case.build(units=(4, 3))
    before = model.get_weights()
    # Two steps are done sooner than the first is traced.
    model.compile(optimizer=keras.optimizers.Adam(0.01), loss="mse", run_eagerly=True)
    targets = np.random.default_rng(2).normal(size=(8, *case.outputs))
    # A head that starts at zero hides the layers below it from the first step.
    for _ in range(2):
        model.train_on_batch(numbers(case, batch=8), targets)
    after = model.get_weights()
    assert all(np.abs(a - b).max() > 1e-4 for a, b in zip(before, after, strict=True))


@pytest.mark.parametrize(
    ("builder", "stack"),
    [pair for pair in CHOSEN_PAIRS if "batch_size" not in STACKS[pair[1]]],
)
def test_a_row_gets_the_answer_that_it_gets_alone(builder, stack):
    model, x = shared_model(builder, stack), numbers(CASES[builder])
    alone = np.concatenate([answers_of(model, row[np.newaxis]) for row in x])
    np.testing.assert_allclose(answers_of(model, x), alone, atol=1e-5)


@every_pair
def test_an_answer_depends_on_the_newest_observation(builder, stack):
    model, x = shared_model(builder, stack), numbers(CASES[builder])
    changed = x.copy()
    changed[:, -1] += 1
    moved = np.abs(answers_of(model, changed) - answers_of(model, x))
    # A sequence answers the newest observation at its last timestep, a vector everywhere.
    newest = moved if builder in {"many_to_one", *FORECASTERS} else moved[:, -1]
    assert newest.min() > 1e-6


# Each builder passes both kinds on to the same layers.
@pytest.mark.parametrize(
    ("builder", "kind"),
    list(zip(CASES, itertools.cycle(["dropout", "recurrent_dropout"]), strict=False)),
)
def test_dropout_acts_in_training_alone(builder, kind):
    x = numbers(CASES[builder])
    plain = shared_model(builder, "two layers")
    model = CASES[builder].build(**STACKS["two layers"], **{kind: 0.5})
    model.set_weights(plain.get_weights())
    expected = answers_of(plain, x)
    np.testing.assert_allclose(answers_of(model, x), expected, atol=1e-6)
    trained, again = (answers_of(model, x, training=True) for _ in range(2))
    assert np.abs(trained - expected).max() > 1e-3
    assert np.abs(trained - again).max() > 1e-3


@every_builder
def test_two_models_from_one_cell_share_no_weights(builder):
    cell = keras.layers.GRUCell(4)
    first, second = (CASES[builder].build(cell=cell) for _ in range(2))
    assert not {id(w) for w in first.weights} & {id(w) for w in second.weights}
    assert not cell.built


TIMESTEPS = 6
STATEFUL = {
    "many_to_one": functools.partial(models.many_to_one, 2, outputs=2),
    "many_to_many": functools.partial(models.many_to_many, 2, outputs=2),
    "next_step": functools.partial(models.next_step, 2),
}


#: A stack for each builder, between them of all cells.
STATEFUL_STACKS = {
    "many_to_one": ("lstm", (4, 3)),
    "many_to_many": ("gru", (4, 3)),
    "next_step": ("simple_rnn", (4, 3)),
}


@functools.cache
def stateless_and_stateful(builder, cell=None, units=None):
    """The two forms of a model with the same weights, inputs, and what the stateless one gives."""
    if cell is None:
        return stateless_and_stateful(builder, *STATEFUL_STACKS[builder])
    stateless = STATEFUL[builder](cell=cell, units=units)
    random = np.random.default_rng(0)
    weights = [random.normal(0, 0.5, w.shape) for w in stateless.get_weights()]
    stateless.set_weights(weights)
    stateful = STATEFUL[builder](
        cell=cell, units=units, stateful=True, reset_input=True, batch_size=2
    )
    stateful.set_weights(weights)
    x = random.normal(size=(2, TIMESTEPS, 2)).astype("float32")
    return stateful, x, keras.ops.convert_to_numpy(stateless(x))


def read_in_parts(model, x, cuts):
    """Outputs over the parts of the time axis that `cuts` make, from a cleared state on."""
    flags = np.full((2, 1), True)
    outputs = []
    for part in np.split(x, sorted(cuts), axis=1):
        outputs.append(keras.ops.convert_to_numpy(model({"sequence": part, "reset": flags})))
        flags = np.full((2, 1), False)
    return outputs


@pytest.mark.parametrize(
    ("builder", "cell", "units"),
    [
        # JAX compiles each length anew, which takes seconds.
        pytest.param("many_to_many", "gru", (4, 3), marks=pytest.mark.backends),
        ("many_to_many", "simple_rnn", (4,)),
        ("many_to_one", "lstm", (4, 3)),
        ("many_to_one", "gru", (4,)),
        ("next_step", "simple_rnn", (4, 3)),
        ("next_step", "lstm", (4,)),
    ],
)
@examples(3)
@given(cuts=st.sets(st.integers(1, TIMESTEPS - 1)))
@example(cuts=set())
@example(cuts=set(range(1, TIMESTEPS)))
def test_stateless_is_stateful_over_any_partition_of_time_is_stepwise(builder, cell, units, cuts):
    stateful, x, expected = stateless_and_stateful(builder, cell, units)
    parts = read_in_parts(stateful, x, cuts)
    actual = parts[-1] if builder == "many_to_one" else np.concatenate(parts, axis=1)
    np.testing.assert_allclose(actual, expected, atol=1e-5)


@pytest.mark.backends
def test_predict_carries_the_state_from_call_to_call():
    stateful, x, expected = stateless_and_stateful("many_to_many")
    parts = [
        stateful.predict({"sequence": part, "reset": np.full((2, 1), begin)}, verbose=0)
        for part, begin in zip(np.split(x, 2, axis=1), [True, False], strict=True)
    ]
    np.testing.assert_allclose(np.concatenate(parts, axis=1), expected, atol=1e-5)


@pytest.mark.parametrize("builder", STATEFUL)
def test_without_a_reset_a_stateful_model_remembers(builder):
    stateful, x, expected = stateless_and_stateful(builder)
    read_in_parts(stateful, x, set())
    again = keras.ops.convert_to_numpy(stateful({"sequence": x, "reset": None}))
    assert np.abs(again - expected).max() > 1e-3


@pytest.mark.parametrize(
    "builder",
    [pytest.param("many_to_many", marks=pytest.mark.backends), "many_to_one", "next_step"],
)
def test_flags_of_timesteps_reach_every_layer_of_the_stack(builder):
    stateful, x, _ = stateless_and_stateful(builder)
    flags = np.zeros((2, TIMESTEPS), bool)
    flags[:, 0] = flags[1, 2] = True
    actual = stateful.predict_on_batch({"sequence": x, "reset": flags})
    # Row 0 is read from its beginning, and of row 1 what comes after its second timestep.
    parts = read_in_parts(stateful, x, {2})
    fresh = keras.ops.convert_to_numpy(
        stateful({"sequence": x[:, 2:], "reset": np.full((2, 1), True)})
    )
    expected = (parts[-1][0], fresh[1])
    for row, row_output in enumerate(expected):
        answer = actual[row] if builder == "many_to_one" else actual[row, 2:]
        np.testing.assert_allclose(answer, row_output, atol=1e-5)
    assert np.abs(parts[-1][1] - fresh[1]).max() > 1e-3


def test_flags_may_come_between_the_steps_that_one_to_many_writes(outputs, randomize):
    stack = {"units": (4, 3), "stateful": True, "reset_input": True, "batch_size": 2}
    model = randomize(models.one_to_many(3, steps=4, **stack))
    vector = np.random.default_rng(0).normal(size=(2, 3)).astype("float32")
    first = outputs(model, vector)
    flags = np.zeros((2, 4), bool)
    flags[0, 0] = flags[1, 2] = True
    actual = keras.ops.convert_to_numpy(model({"sequence": vector, "reset": flags}))
    np.testing.assert_allclose(actual[0], first[0], atol=1e-5)
    np.testing.assert_allclose(actual[1, 2:], first[1, :2], atol=1e-5)
    assert np.abs(actual[1, :2] - first[1, :2]).max() > 1e-3


@pytest.mark.parametrize("builder", STATEFUL)
def test_a_loaded_or_cloned_stateful_model_goes_on_by_itself(builder, tmp_path):
    model, x, _ = stateless_and_stateful(builder)
    model.save(tmp_path / "model.keras")
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    expected = read_in_parts(model, x, {2, 3})
    for other in (keras.saving.load_model(tmp_path / "model.keras"), clone):
        # The states of the model, which has read to the end, are not those of the copy. Flags and
        # not None: a clone has forgotten that they may be left out.
        none = np.full((2, 1), False)
        for part, output in zip(np.split(x, [2, 3], axis=1), expected, strict=True):
            actual = keras.ops.convert_to_numpy(other({"sequence": part, "reset": none}))
            np.testing.assert_allclose(actual, output, atol=1e-5)


@every_builder
@pytest.mark.parametrize("units", [(), 0, -1, 2.5, True, "64"])
def test_units_that_cannot_work_are_refused(builder, units):
    with pytest.raises(ArgumentError, match="units must be an integer") as caught:
        CASES[builder].build(units=units)
    assert f"units={units!r}" in str(caught.value)


@every_builder
def test_an_unknown_keyword_is_refused_with_the_nearest(builder):
    with pytest.raises(ArgumentError, match=r"Unknown keyword 'drop_out'\. Did you mean 'dropout'"):
        CASES[builder].build(drop_out=0.1)


@every_builder
def test_an_unknown_cell_is_refused_with_the_nearest(builder):
    with pytest.raises(ArgumentError, match=r"cell='gruu'\. Did you mean 'gru'"):
        CASES[builder].build(cell="gruu")


@pytest.mark.parametrize("builder", sorted(CASES.keys() - STATELESS_ONLY))
def test_stateful_needs_a_batch_size(builder):
    with pytest.raises(ArgumentError, match="batch_size must be given where stateful=True"):
        CASES[builder].build(units=4, stateful=True)
    model = CASES[builder].build(units=4, stateful=True, batch_size=2)
    assert model.input.shape == (2, *CASES[builder].inputs)


@pytest.mark.parametrize("builder", sorted(CASES.keys() - STATELESS_ONLY))
def test_a_reset_input_is_added_where_asked_for(builder):
    options = {"units": 4, "stateful": True, "batch_size": 2}
    model = CASES[builder].build(**options, reset_input=True)
    assert model.input["sequence"].shape == (2, *CASES[builder].inputs)
    assert model.input["reset"].shape == (2, None)
    plain = CASES[builder].build(**options)
    plain.set_weights(model.get_weights())
    x = numbers(CASES[builder])
    expected = model.predict_on_batch({"sequence": x, "reset": np.full((2, 1), True)})
    np.testing.assert_array_equal(plain.predict_on_batch(x), expected)


@pytest.mark.parametrize("builder", sorted(CASES.keys() - FORECASTERS))
def test_the_input_of_a_builder_is_named_sequence(builder):
    assert CASES[builder].build(units=4).input.name == "sequence"


@pytest.mark.parametrize("builder", sorted(CASES.keys() - STATELESS_ONLY))
def test_a_reset_input_needs_a_stateful_model(builder):
    with pytest.raises(ArgumentError, match="reset_input must be False where stateful=False"):
        CASES[builder].build(units=4, reset_input=True)


@pytest.mark.parametrize("builder", sorted(STATELESS_ONLY))
def test_a_model_of_whole_windows_refuses_stateful(builder):
    with pytest.raises(ArgumentError, match=f"stateful must be False for {builder}"):
        CASES[builder].build(units=4, stateful=True, batch_size=2)
