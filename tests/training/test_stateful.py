"""Truncated backpropagation against a loop written by hand."""

import functools

import keras
import numpy as np
import pytest

from helpers.arrays import assert_arrays_close, assert_arrays_equal
from helpers.examples import long_run_only
from seqkeras import StatefulBatches, layers, many_to_many, many_to_one
from seqkeras.errors import ArgumentError
from seqkeras.states import as_stateful, as_stateless, get_state
from seqkeras.training import ResetStates, fit_stateful


def train(model, batches, epochs=2, **options):
    return fit_stateful(model, batches, epochs, progress=False, **options).history


class Recorder(keras.callbacks.Callback):
    """The weights after each epoch, and in which order things came."""

    def __init__(self):
        super().__init__()
        self.weights, self.log = [], []

    def on_epoch_end(self, epoch, logs=None):
        self.weights.append(self.model.get_weights())
        self.log.append(epoch)


# -- against a loop ------------------------------------------------------------------------------


@functools.cache
def loop_models(steps):
    """Stock Keras layers that take and give their states: two models of the same weights."""
    x, mask = keras.Input((steps, 1)), keras.Input((steps,), dtype="bool")
    states = [keras.Input((size,)) for size in (4, 4, 3, 3)]
    options = {"return_sequences": True, "return_state": True}
    lower, upper = keras.layers.LSTM(4, **options), keras.layers.LSTM(3, **options)
    # What is trained on needs no mask: padding comes last, and has no weight.
    y = upper(lower(x, initial_state=states[:2])[0], initial_state=states[2:])[0]
    trained = keras.Model([x, *states], keras.layers.Dense(1)(y))
    y, *first = lower(x, mask=mask, initial_state=states[:2])
    _, *second = upper(y, mask=mask, initial_state=states[2:])
    reader = keras.Model([x, mask, *states], [*first, *second])
    # The sum over what counts; how much a timestep counts comes with its weight.
    loss = keras.losses.MeanSquaredError(reduction="sum")
    trained.compile(keras.optimizers.SGD(0.02, momentum=0.9), loss)
    trained.optimizer.build(trained.trainable_variables)
    return trained, reader


def by_hand(steps, start):
    """Return the models of `loop_models` with these weights, as if never trained."""
    trained, reader = loop_models(steps)
    trained.set_weights(start)
    for variable in trained.optimizer.variables:
        if variable is not trained.optimizer.learning_rate:
            variable.assign(keras.ops.zeros(variable.shape, variable.dtype))
    return trained, reader


def stretches_of(flags, used):
    """For each stretch between two flags in a batch, its row, first timestep and length."""
    begins = np.zeros_like(used)
    begins[:, : flags.shape[1]] = flags
    stretches = []
    for row, marks in enumerate(begins):
        timesteps = np.flatnonzero(used[row])
        borders = np.flatnonzero(marks[timesteps])
        parts = np.split(timesteps, borders[borders > 0])
        stretches += [(row, part[0], len(part)) for part in parts if len(part)]
    return stretches


def loop(problem, batches, start, epochs):
    """Batch after batch, each stretch a row of its own, its state handed on by hand."""
    trained, reader = by_hand(problem.steps, start)
    batches = batches.with_reset_input(True)
    count = 3 * problem.rows
    losses = []
    for epoch in range(epochs):
        batches.epoch = epoch
        row_states = [np.zeros((problem.rows, size), "float32") for size in (4, 4, 3, 3)]
        loss = 0.0
        for index in range(len(batches)):
            inputs, y, weights = batches[index]
            x, flags, used = inputs["sequence"], inputs["reset"], weights > 0
            rows = stretches_of(flags, used)
            assert len(rows) <= count
            parts = [np.zeros((count, *part.shape[1:]), part.dtype) for part in (x, y, weights)]
            mask = np.zeros((count, problem.steps), bool)
            states = [np.zeros((count, one.shape[1]), "float32") for one in row_states]
            for number, (row, first, length) in enumerate(rows):
                for part, whole in zip(parts, (x, y, weights), strict=True):
                    part[number, :length] = whole[row, first : first + length]
                mask[number, :length] = True
                if not (first < flags.shape[1] and flags[row, first]):
                    for state, old in zip(states, row_states, strict=True):
                        state[number] = old[row]
            after = reader.predict_on_batch([parts[0], mask, *states])
            trained.reset_metrics()  # or some releases of Keras give the mean so far
            loss += float(
                trained.train_on_batch(
                    [parts[0], *states], parts[1], sample_weight=parts[2] / used.size
                )
            )
            for number, (row, _, _) in enumerate(rows):
                for old, new in zip(row_states, after, strict=True):
                    old[row] = new[number]
        losses.append(loss / len(batches))
    return trained.get_weights(), losses


@pytest.mark.backends
@pytest.mark.parametrize(("pack", "reset_input"), [(True, False), (True, True), (False, False)])
def test_training_is_that_of_a_loop_which_hands_the_states_on(problem, pack, reset_input):
    batches = problem.batches(pack=pack, shuffle=True, seed=5)
    model = problem.model(reset_input=reset_input)
    start = model.get_weights()
    history = train(model, batches, epochs=2)
    weights, losses = loop(problem, batches, start, epochs=2)
    assert history["loss"] == pytest.approx(losses, rel=1e-4)
    for actual, expected, old in zip(model.get_weights(), weights, start, strict=True):
        np.testing.assert_allclose(actual, expected, atol=1e-5)
        assert np.abs(actual - old).max() > 3e-4


def test_the_loop_tells_apart_whether_states_are_handed_on(problem):
    batches = problem.batches(shuffle=True, seed=5)
    model = problem.model()
    start = model.get_weights()
    train(model, batches, epochs=1)
    weights, _ = loop(problem, FlagsEverywhere(batches), start, epochs=1)
    worst = max(
        np.abs(actual - expected).max()
        for actual, expected in zip(model.get_weights(), weights, strict=True)
    )
    assert worst > 1e-4


class FlagsEverywhere:
    """Batches in which every row of every batch begins anew."""

    def __init__(self, batches):
        self.batches = batches.with_reset_input(True)
        self.epoch = 0

    def with_reset_input(self, reset_input):
        return self

    def __len__(self):
        return len(self.batches)

    def __getitem__(self, index):
        x, y, mask = self.batches[index]
        flags = x["reset"].copy()
        flags[:, 0] = True
        return {**x, "reset": flags}, y, mask


@pytest.mark.backends
def test_every_epoch_begins_with_cleared_states(problem):
    model = problem.model()
    # An epoch that changes nothing gives the same loss again, and that of evaluate.
    model.optimizer.learning_rate = 0.0
    batches = problem.batches(reset_input=True)
    losses = train(model, batches, epochs=3)["loss"]
    assert losses == pytest.approx([losses[0]] * 3, rel=1e-6)
    assert model.evaluate(batches, verbose=0) == pytest.approx(losses[0], rel=1e-5)


# -- validation ----------------------------------------------------------------------------------


@pytest.mark.backends
@pytest.mark.parametrize("pack", [True, False])
def test_validation_changes_nothing_of_the_training(problem, snapshot, pack):
    runs = []
    for validation in (None, problem.validation(pack=pack)):
        model = problem.model()
        losses = train(model, problem.batches(pack=pack), epochs=2, validation=validation)["loss"]
        runs.append((losses, snapshot(model)))
    assert runs[0][0] == pytest.approx(runs[1][0], rel=1e-6)
    assert_arrays_close(runs[0][1], runs[1][1], atol=1e-6)
    # The states are among what was compared, and are not those of the beginning.
    assert any(np.abs(state).max() > 1e-3 for state in states_of(model))


def states_of(model):
    layers = [layer for layer in model.layers if getattr(layer, "stateful", False)]
    return [s.numpy() for layer in layers for s in keras.tree.flatten(layer.states)]


@pytest.mark.backends
def test_validation_loss_is_that_of_a_stateless_twin_over_each_series(problem):
    recorder = Recorder()
    validation = problem.validation()
    history = train(problem.model(), problem.batches(), validation=validation, callbacks=[recorder])
    twin = many_to_many(1, units=(4, 3))
    series = problem.series((10, 13, 8), seed=9)
    padded = np.zeros((len(series), 12, 1), "float32")
    for row, values in enumerate(series):
        padded[row, : len(values) - 1, 0] = values[:-1]
    for weights, actual in zip(recorder.weights, history["val_loss"], strict=True):
        twin.set_weights(weights)
        outputs = twin.predict_on_batch(padded)[..., 0]
        errors = [
            (outputs[row, : len(values) - 1] - values[1:]) ** 2 for row, values in enumerate(series)
        ]
        # Keras divides by the timesteps of the batches, those of padding too.
        mean = np.concatenate(errors).mean() * (1 - validation.padding)
        assert actual == pytest.approx(mean, rel=1e-4)


@pytest.mark.backends
def test_one_target_for_each_row_of_a_batch_trains_the_answer_to_all_timesteps_so_far():
    wave = np.sin(np.arange(27.0))
    batches = StatefulBatches(wave, batch_size=2, bptt_steps=4, target_rows="last")
    model = many_to_one(1, units=3, stateful=True, batch_size=2)
    model.compile(keras.optimizers.SGD(0.0), "mse")
    loss = train(model, batches, epochs=1)["loss"][0]
    twin = as_stateless(model)
    errors = [
        twin.predict_on_batch(wave[None, first : first + read, None])[0, 0] - wave[first + read]
        for first in (0, 13)  # where the rows begin
        for read in (4, 8, 12)  # where their batches end
    ]
    assert len(batches) == 4  # the last is padded at its end, and has no weight
    assert loss == pytest.approx(np.square(errors).sum() / (4 * 2), rel=1e-5)


def test_batches_stay_in_their_epoch_and_form(problem):
    batches, validation = (
        make(shuffle=True, seed=1) for make in (problem.batches, problem.validation)
    )
    batches.epoch = validation.epoch = 4
    train(problem.model(), batches, validation=validation)
    assert batches.epoch == validation.epoch == 4
    assert batches.reset_input is validation.reset_input is None


def test_what_is_trained_on_may_be_validated_on(problem):
    batches = problem.batches(shuffle=True, seed=0)
    history = train(problem.model(), batches, validation=batches)
    assert len(history["val_loss"]) == 2


# -- the best epoch ------------------------------------------------------------------------------


def spoil(epoch, rate):
    """Learns far too fast from the third epoch on, which leaves the best weights behind."""
    return 2.0 if epoch > 1 else rate


def test_patience_stops_and_puts_the_best_weights_back(problem):
    recorder, model = Recorder(), problem.model()
    history = train(
        model,
        problem.batches(),
        epochs=12,
        validation=problem.validation(),
        patience=2,
        callbacks=[recorder, keras.callbacks.LearningRateScheduler(spoil)],
    )
    losses = history["val_loss"]
    best = int(np.argmin(losses))
    assert best < 2
    assert len(losses) == best + 3 < 12
    assert_arrays_equal(model.get_weights(), recorder.weights[best])
    assert any(
        (a != b).any() for a, b in zip(recorder.weights[-1], recorder.weights[best], strict=True)
    )


@pytest.mark.parametrize("monitor", ["loss", "val_loss"])
def test_the_checkpoint_is_the_model_of_the_best_epoch(problem, monitor, tmp_path):
    recorder, file = Recorder(), tmp_path / "best.keras"
    file.write_text("of an earlier training")
    model = problem.model()
    validation = problem.validation() if monitor == "val_loss" else None
    history = train(
        model,
        problem.batches(),
        epochs=5,
        validation=validation,
        checkpoint=str(file),
        callbacks=[recorder, keras.callbacks.LearningRateScheduler(spoil)],
    )
    best = int(np.argmin(history[monitor]))
    loaded = keras.saving.load_model(file)
    assert_arrays_equal(loaded.get_weights(), recorder.weights[best])
    # Without patience the model itself keeps the last weights.
    assert_arrays_equal(model.get_weights(), recorder.weights[-1])
    assert [one.name for one in tmp_path.iterdir()] == ["best.keras"]
    assert best < 2


def test_the_checkpoint_can_be_trained_further(problem, tmp_path):
    file = tmp_path / "best.keras"
    train(problem.model(), problem.batches(), epochs=1, checkpoint=file)
    loaded = keras.saving.load_model(file)
    history = train(loaded, problem.batches(), epochs=1)
    reference = problem.model()
    both = train(reference, problem.batches(), epochs=2)["loss"]
    assert history["loss"] == pytest.approx(both[1:], rel=1e-5)


# -- results ------------------------------------------------------------------------------------


def test_history_has_every_epoch_and_callbacks_see_them(problem):
    recorder = Recorder()
    history = fit_stateful(
        problem.model(),
        problem.batches(),
        3,
        validation=problem.validation(),
        callbacks=(one for one in [recorder]),
        progress=False,
    )
    assert isinstance(history, keras.callbacks.History)
    assert history.history.keys() == {"loss", "val_loss"}
    assert {len(values) for values in history.history.values()} == {3}
    assert history.epoch == recorder.log == [0, 1, 2]


def test_each_training_reads_the_epochs_of_the_seed(problem):
    losses = [
        train(problem.model(), problem.batches(shuffle=True, seed=seed), epochs=2)["loss"]
        for seed in (0, 0, 1)
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    assert abs(losses[0][0] - losses[2][0]) > 1e-6


@pytest.mark.parametrize("options", [{"steps_per_execution": 3}, {"jit_compile": True}])
def test_training_may_be_compiled_as_keras_can(problem, options):
    if keras.backend.backend() == "torch":
        pytest.skip("Keras takes one uncompiled step at a time on PyTorch")
    stateful = {"stateful": True, "batch_size": problem.rows}
    plain = many_to_many(1, units=2, cell="simple_rnn", reset_input=True, **stateful)
    model = many_to_many(1, units=2, cell="simple_rnn", **stateful)
    model.set_weights(plain.get_weights())
    plain.compile("sgd", "mse", run_eagerly=True)
    model.compile("sgd", "mse", **options)
    expected = train(plain, problem.batches(), epochs=1)["loss"]
    assert train(model, problem.batches(), epochs=1)["loss"] == pytest.approx(expected, rel=1e-4)
    assert_arrays_close(model.get_weights(), plain.get_weights())


# -- models without a reset input ----------------------------------------------------------------


def nested(rows):
    """A Sequential in a functional model with two branches, one of which is frozen."""
    inner = keras.Sequential(
        [
            keras.Input(batch_shape=(rows, None, 2)),
            layers.LSTM(3, stateful=True, return_sequences=True),
            keras.layers.Dense(3, trainable=False),
        ],
        name="inner",
    )
    x = keras.Input(batch_shape=(rows, None, 1), name="values")
    doubled = keras.ops.concatenate([x, 2 * x], axis=-1)
    y = layers.GRU(3, stateful=True, return_sequences=True, name="beside")(x)
    y = keras.layers.Concatenate()([keras.layers.Dense(2)(y), inner(doubled)])
    return keras.Model(x, keras.layers.Dense(1, name="head")(y), name="outer")


@pytest.mark.backends
def test_a_model_without_a_reset_input_trains_as_one_with_it_and_goes_on(problem):
    keras.utils.set_random_seed(0)
    plain = nested(problem.rows)
    flagged = as_stateful(plain, problem.rows, reset_input=True)
    batches = problem.batches(shuffle=True, seed=3)
    results = []
    for model in (plain, flagged):
        model.compile(keras.optimizers.SGD(0.02, 0.9), "mse", weighted_metrics=["mae"])
        histories = [
            train(model, batches, epochs=1, validation=problem.validation()),
            train(model, batches, epochs=1),
        ]
        results.append((histories, model.get_weights(), list(get_state(model).values())))
    for history, expected in zip(results[0][0], results[1][0], strict=True):
        assert history.keys() == expected.keys()
        for name, values in expected.items():
            assert history[name] == pytest.approx(values, rel=1e-5)
    for arrays, expected in zip(results[0][1:], results[1][1:], strict=True):
        assert_arrays_close(arrays, expected, atol=1e-6)


@pytest.mark.backends
def test_training_without_a_reset_input_leaves_the_layers_called_once(problem, tmp_path):
    model = nested(problem.rows)
    model.compile("sgd", "mse")
    config = model.get_config()
    train(model, problem.batches(), epochs=1, checkpoint=tmp_path / "best.keras")
    assert model.get_layer("beside").output.shape == (problem.rows, None, 3)
    assert model.get_layer("inner").layers[0].output.shape == (problem.rows, None, 3)
    assert model.get_config() == config
    assert keras.saving.load_model(tmp_path / "best.keras").input.name == "values"
    assert keras.Model(model.inputs, model.get_layer("beside").output).count_params() > 0


def test_an_interruption_leaves_a_model_without_a_reset_input_as_it_was(problem):
    def stop(batch, logs):
        raise KeyboardInterrupt

    model = nested(problem.rows)
    model.compile("sgd", "mse")
    config = model.get_config()
    callbacks = [keras.callbacks.LambdaCallback(on_train_batch_end=stop)]
    with pytest.raises(KeyboardInterrupt):
        train(model, problem.batches(), callbacks=callbacks)
    assert model.get_config() == config
    assert model.get_layer("beside").output.shape == (problem.rows, None, 3)
    train(model, problem.batches(), epochs=1)


def test_callbacks_see_a_model_with_the_same_layers(problem, tmp_path):
    model = problem.model(reset_input=False)
    file = tmp_path / "every.weights.h5"
    checkpoint = keras.callbacks.ModelCheckpoint(file, save_weights_only=True)
    layer = model.get_layer("head")
    same = keras.callbacks.LambdaCallback()
    train(model, problem.batches(), epochs=1, callbacks=[checkpoint, same])
    assert same.model.get_layer("head") is layer
    again = problem.build()
    again.load_weights(file)
    assert_arrays_equal(again.get_weights(), model.get_weights())


def test_a_frozen_model_keeps_its_weights(problem):
    model = problem.build()
    model.get_layer("recurrent_1").trainable = False
    model.compile("sgd", "mse")
    before = model.get_weights()
    train(model, problem.batches(), epochs=1)
    moved = [(a != b).any() for a, b in zip(before, model.get_weights(), strict=True)]
    assert moved == [False] * 3 + [True] * 5


# -- stock Keras models --------------------------------------------------------------------------


def stock(rows, **options):
    model = keras.Sequential(
        [
            keras.Input(batch_shape=(rows, None, 1)),
            keras.layers.LSTM(4, stateful=True, return_sequences=True),
            keras.layers.LSTM(3, stateful=True, return_sequences=True),
            keras.layers.Dense(1),
        ]
    )
    model.compile(keras.optimizers.SGD(0.02, momentum=0.9), "mse", **options)
    return model


def fresh_stock(problem):
    """Return a stock model as it was built, which TensorFlow traces once."""
    model = problem.fresh(stock, problem.rows)
    for layer in model.layers[:2]:
        layer.reset_states()  # Keras does not count its states among the variables of a model
    return model


# Stock layers that keep a state cannot be trained elsewhere: on JAX Keras hides the states, and on
# PyTorch it changes in place what the gradients need.
on_tensorflow = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="stock stateful layers train on it alone"
)


@on_tensorflow
def test_a_stock_model_trains_as_ours_where_series_begin_with_a_batch(problem):
    ours, theirs = problem.model(), fresh_stock(problem)
    theirs.set_weights(ours.get_weights())
    expected = train(ours, problem.batches(pack=False), validation=problem.validation(pack=False))
    history = train(
        theirs,
        problem.batches(pack=False),
        validation=problem.validation(pack=False),
    )
    for name, values in expected.items():
        assert history[name] == pytest.approx(values, rel=1e-4)
    assert_arrays_close(theirs.get_weights(), ours.get_weights())


@long_run_only
@on_tensorflow
def test_without_reset_states_a_stock_model_trains_otherwise(problem):
    batches = problem.batches(pack=False, reset_input=False)
    losses = []
    for callbacks in ([ResetStates(batches)], []):
        model = fresh_stock(problem)
        batches.epoch = 0
        history = model.fit(batches, epochs=2, shuffle=False, verbose=0, callbacks=callbacks)
        losses.append(history.history["loss"][1])
    assert abs(losses[0] - losses[1]) > 1e-5


@on_tensorflow
@pytest.mark.parametrize("name", ["batches", "validation"])
def test_reset_states_refuses_series_that_begin_within_a_batch(problem, name):
    options = {"batches": {}, "validation": {}} | {name: {"pack": True}}
    batches = problem.batches(**{"pack": False} | options["batches"])
    validation = problem.batches(**{"pack": False} | options["validation"])
    with pytest.raises(ArgumentError, match=f"{name} must be made with pack=False"):
        train(fresh_stock(problem), batches, validation=validation)


@on_tensorflow
def test_reset_states_refuses_steps_that_run_in_one_go(problem):
    model = stock(problem.rows, steps_per_execution=2)
    with pytest.raises(ArgumentError, match="steps_per_execution must be 1") as caught:
        train(model, problem.batches(pack=False))
    assert "Got: steps_per_execution=2." in str(caught.value)


@on_tensorflow
def test_a_stock_model_of_one_row_is_refused_only_where_it_must_be_compiled():
    batches = StatefulBatches(np.sin(np.arange(13.0)), batch_size=1, bptt_steps=4)
    with pytest.raises(ArgumentError, match="layers for batches of one row on TensorFlow"):
        train(stock(1), batches)
    assert np.isfinite(train(stock(1, run_eagerly=True), batches)["loss"]).all()
    converted = as_stateful(stock(1), batch_size=1)
    converted.compile("sgd", "mse")
    assert np.isfinite(train(converted, batches)["loss"]).all()


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="of JAX alone")
@pytest.mark.backends
def test_reset_states_refuses_jax_with_the_way_out(problem):
    with pytest.raises(ArgumentError, match="must have seqkeras layers on the JAX backend"):
        train(stock(problem.rows), problem.batches(pack=False))


# -- what cannot work ----------------------------------------------------------------------------


def refused(model, batches, epochs=1, **options):
    with pytest.raises(ArgumentError) as caught:
        fit_stateful(model, batches, epochs, **options)
    return str(caught.value)


@functools.cache
def dense(compiled=True):
    model = keras.Sequential([keras.Input((4, 1)), keras.layers.Dense(1)])
    if compiled:
        model.compile("sgd", "mse")
    return model


@pytest.mark.parametrize("model", [None, "model", object()])
def test_what_is_no_model_is_refused(problem, model):
    assert refused(model, problem.batches()).startswith("model must be a keras.Model that is built")


def test_a_model_that_is_not_compiled_is_refused(problem):
    model = many_to_many(1, units=3, stateful=True, batch_size=problem.rows)
    message = refused(model, problem.batches())
    assert "model must be a keras.Model that is built and compiled" in message
    assert message.endswith('Call model.compile(optimizer="adam", loss="mse").')
    assert "batch_shape" not in message


def test_a_model_that_is_not_built_is_refused(problem):
    model = keras.Sequential([keras.layers.LSTM(3, stateful=True, return_sequences=True)])
    model.compile("sgd", "mse")
    message = refused(model, problem.batches())
    assert "model must be a keras.Model that is built" in message
    assert message.endswith("Give it an Input with a batch_shape.")


@pytest.mark.parametrize("name", ["batches", "validation"])
def test_a_stateless_model_is_refused_with_the_way_out(problem, name):
    message = refused(
        dense(), problem.batches(), **{name: problem.batches()} if name[0] == "v" else {}
    )
    assert "model must be stateful" in message
    assert f"seqkeras.states.as_stateful(model, batch_size={problem.rows})" in message


@pytest.mark.parametrize("name", ["batches", "validation"])
@pytest.mark.parametrize("value", [3, [], np.zeros((3, 4, 1)), "batches"], ids=str)
def test_batches_that_are_none_are_refused(problem, name, value):
    arguments = {"batches": problem.batches(), name: value}
    message = refused(problem.model(), **arguments)
    assert f"{name} must be StatefulBatches, or TokenBatches" in message
    assert f"Got: {name}='{type(value).__name__}'." in message


@pytest.mark.parametrize("name", ["batches", "validation"])
def test_batches_of_other_rows_are_refused_with_both(problem, name):
    arguments = {"batches": problem.batches(), name: problem.batches(batch_size=2)}
    message = refused(problem.model(), **arguments)
    assert f"{name} must be of batch_size 3, like the model." in message
    assert "of 2 rows" in message


def test_a_model_with_other_inputs_than_the_batches_is_refused(problem):
    values = keras.Input(batch_shape=(problem.rows, None, 1), name="values")
    reset = keras.Input(batch_shape=(problem.rows, None), name="reset", dtype="bool")
    y = layers.GRU(2, return_sequences=True, stateful=True)(values, reset=reset)
    model = keras.Model([values, reset], keras.layers.Dense(1)(y))
    model.compile("sgd", "mse")
    message = refused(model, problem.batches())
    assert "model must be a model with exactly the inputs 'sequence' and 'reset'." in message
    assert "'values'" in message


@pytest.mark.parametrize("epochs", [0, -1, 2.5, True, "3", None])
def test_epochs_that_are_no_positive_integer_are_refused(problem, epochs):
    message = refused(problem.model(), problem.batches(), epochs)
    assert message == f"epochs must be an integer >= 1. Got: epochs={epochs!r}."


@pytest.mark.parametrize("patience", [0, -1, 2.5, True, "3"])
def test_patience_that_is_no_positive_integer_is_refused(problem, patience):
    message = refused(
        problem.model(), problem.batches(), patience=patience, validation=problem.validation()
    )
    assert message == f"patience must be an integer >= 1. Got: patience={patience!r}."


def test_patience_without_validation_is_refused(problem):
    message = refused(problem.model(), problem.batches(), patience=2)
    assert "patience must be omitted without validation. Got: patience=2." in message


@pytest.mark.parametrize("name", ["best", "best.h5", "best.weights.h5", "best.KERAS", ".keras"])
def test_a_checkpoint_of_another_kind_of_file_is_refused(problem, tmp_path, name):
    message = refused(problem.model(), problem.batches(), checkpoint=tmp_path / name)
    assert "checkpoint must be the name of a .keras file." in message
    assert f"{name}'." in message


@pytest.mark.parametrize("name", ["checkpoint", "backup"])
@pytest.mark.parametrize("place", ["nowhere/file.keras", "folder.keras"])
def test_a_file_that_cannot_be_written_is_refused_before_training(problem, tmp_path, name, place):
    (tmp_path / "folder.keras").mkdir()
    message = refused(problem.model(), problem.batches(), **{name: tmp_path / place})
    assert f"{name} must be a file in a folder that exists." in message


def test_a_refusal_leaves_the_model_and_the_batches_as_they_were(problem, snapshot):
    model, batches = problem.model(), problem.batches(shuffle=True, seed=0)
    batches.epoch = 3
    before = snapshot(model)
    refused(model, batches, patience=2)
    assert_arrays_equal(snapshot(model), before)
    assert batches.epoch == 3


def test_missing_values_in_a_mapped_file_end_the_training_with_their_place(problem, tmp_path):
    values = np.random.default_rng(0).normal(size=200).astype("float32")
    values[150] = np.nan
    np.save(tmp_path / "values.npy", values)
    batches = StatefulBatches(
        np.load(tmp_path / "values.npy", mmap_mode="r"), batch_size=3, bptt_steps=4
    )
    with pytest.raises(Exception, match="row 150"):
        train(problem.build(), batches)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="strategies of TensorFlow")
def test_models_that_are_distributed_over_devices_are_refused():
    import tensorflow as tf

    with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
        model = many_to_many(1, units=2, stateful=True, batch_size=2)
        model.compile("sgd", "mse")
    batches = StatefulBatches(np.arange(20.0), batch_size=2, bptt_steps=4)
    with pytest.raises(ArgumentError, match="scope of MirroredStrategy"):
        train(model, batches)
