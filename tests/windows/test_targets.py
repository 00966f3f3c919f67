"""Targets that Keras would broadcast are refused before the first step; the fix leads to one."""

import functools

import keras
import numpy as np
import pytest

import seqkeras
from helpers.arrays import assert_arrays_equal
from seqkeras import StatefulBatches, Windows, WindowSpec
from seqkeras.errors import ArgumentError
from seqkeras.training import fit_stateful

LOOKBACK = 6
WAVE = np.sin(np.arange(40) / 3)
SIGNS = (WAVE > 0).astype(int)
STATEFUL = {"units": 2, "stateful": True, "batch_size": 2}


def windows(horizon=1, values=WAVE, **options):
    return Windows(values, WindowSpec(LOOKBACK, horizon=horizon), **options)


def stateful(bptt_steps=4, **options):
    return StatefulBatches(WAVE, batch_size=2, bptt_steps=bptt_steps, **options)


def compiled(model, loss="mse"):
    model.compile("sgd", loss, run_eagerly=True)  # nothing to trace for two batches
    return model


def sequential(*layers, loss="mse"):
    return compiled(keras.Sequential(list(layers)), loss)


many_to_one = functools.partial(seqkeras.many_to_one, 1, units=2)
many_to_many = functools.partial(seqkeras.many_to_many, 1, units=2)

# What is refused: the model, the data, both shapes, and data that follow the fix.
EACH, ONCE = "an output at each timestep", "one output after the last timestep"
REFUSED = {
    "next_step": (
        lambda: seqkeras.next_step(1, units=2),
        windows,
        ("(32, 1)", "(32, 6, 1)", EACH, 'target_rows="next"'),
        lambda: windows(target_rows="next"),
    ),
    "many_to_many": (
        many_to_many,
        lambda: windows(horizon=3),
        ("(32, 3)", "(32, 6, 1)", EACH, '"lookback"'),
        lambda: windows(horizon=3, target_rows="lookback"),
    ),
    "autoencoder": (
        lambda: seqkeras.autoencoder(1, timesteps=LOOKBACK, latent=2, units=2),
        windows,
        ("(32, 1)", "(32, 6, 1)", EACH, '"lookback"'),
        lambda: windows(target_rows="lookback"),
    ),
    "too many outputs": (
        lambda: many_to_one(outputs=3),
        windows,
        ("(32, 1)", "(32, 3)", "outputs of width 1", "a horizon of 3"),
        lambda: windows(horizon=3),
    ),
    "too few outputs": (
        many_to_one,
        lambda: windows(horizon=3),
        ("(32, 3)", "(32, 1)", "outputs of width 3", "a horizon of 1"),
        windows,
    ),
    "multi_output": (
        lambda: seqkeras.multi_output(lookback=LOOKBACK, horizon=3, units=2),
        windows,
        ("(32, 1)", "(32, 3)", "a horizon of 3"),
        lambda: windows(horizon=3),
    ),
    "every timestep for one answer": (
        many_to_one,
        lambda: windows(target_rows="next"),
        ("(32, 6, 1)", "(32, 1)", ONCE, 'target_rows="point"'),
        lambda: windows(target_rows="point"),
    ),
    "from a transform": (
        many_to_one,
        lambda: windows(transform=lambda x, y: (x, x[:, :3])),
        ("(32, 3, 1)", "(32, 1)", ONCE),
        lambda: windows(transform=lambda x, y: (x, x[:, 0])),
    ),
    "from a function": (
        many_to_one,
        lambda: windows(targets=lambda index: np.zeros((len(index.window), 2))),
        ("(32, 2)", "(32, 1)", "outputs of width 2"),
        lambda: windows(targets=lambda index: np.zeros(len(index.window))),
    ),
    "as many windows as timesteps": (
        many_to_one,
        lambda: windows(target_rows="next", batch_size=LOOKBACK),
        ("(6, 6, 1)", "(6, 1)", ONCE),
        lambda: windows(batch_size=LOOKBACK),
    ),
}
LOSSES = ["mse", keras.losses.Huber(), keras.losses.mean_absolute_error, "kld"]


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param("many_to_many", marks=pytest.mark.backends),
        *(kind for kind in REFUSED if kind != "many_to_many"),
    ],
)
def test_targets_unlike_the_outputs_are_refused_and_the_fix_leads_to_a_fit(kind):
    make, data, words, mended = REFUSED[kind]
    model = compiled(make())
    before = model.get_weights()
    with pytest.raises(ArgumentError, match="targets must be shaped like the outputs") as caught:
        model.fit(data(), verbose=0)
    assert_arrays_equal(model.get_weights(), before)
    assert all(word in str(caught.value) for word in words), str(caught.value)
    history = model.fit(mended(), verbose=0).history
    assert np.isfinite(history["loss"]).all()


@pytest.mark.parametrize("loss", LOSSES, ids=["text", "object", "function", "alias"])
def test_every_loss_that_broadcasts_is_judged(loss):
    with pytest.raises(ArgumentError, match=r"targets \(32, 1\) for outputs \(32, 6, 1\)"):
        compiled(many_to_many(), loss).fit(windows(), verbose=0)


@pytest.mark.parametrize("model", [
    lambda: sequential(keras.layers.LSTM(2, return_sequences=True), keras.layers.Dense(1)),
    lambda: sequential(keras.Input((None, 1)), keras.layers.GRU(2, return_sequences=True),
                       keras.layers.Dense(1)),
], ids=["not built yet", "built"])  # fmt: skip
def test_models_of_keras_are_judged_too(model):
    with pytest.raises(ArgumentError, match=r"targets \(32, 1\) for outputs \(32, 6, 1\)"):
        model().fit(windows(), verbose=0)


def test_evaluation_and_validation_are_judged_and_prediction_is_not():
    model = compiled(many_to_one())
    wrong = windows(target_rows="next")
    with pytest.raises(ArgumentError, match="targets must be"):
        model.evaluate(wrong, verbose=0)
    with pytest.raises(ArgumentError, match="targets must be"):
        model.fit(windows(), validation_data=wrong, verbose=0)
    assert model.predict(wrong, verbose=0).shape == (34, 1)


def test_a_new_loss_is_judged_anew():
    model = compiled(many_to_many(), lambda y, output: keras.ops.mean(output))
    data = windows()
    model.fit(data, verbose=0)  # a loss of one's own compares what it likes
    with pytest.raises(ArgumentError, match="targets must be"):
        compiled(model).fit(data, verbose=0)


def test_of_several_outputs_the_one_that_does_not_fit_is_refused():
    x = keras.Input((LOOKBACK, 1))
    outputs = {"a": keras.layers.GRU(1)(x), "b": keras.layers.GRU(1, return_sequences=True)(x)}
    model = compiled(keras.Model(x, outputs), {"a": "mse", "b": "mse"})
    both = windows(transform=lambda x, y: (x, {"a": y, "b": y}))
    with pytest.raises(ArgumentError, match=r"targets \(32, 1\) for outputs \(32, 6, 1\)"):
        model.fit(both, verbose=0)
    model.fit(windows(transform=lambda x, y: (x, {"a": y, "b": x})), verbose=0)


@pytest.mark.parametrize(
    ("outputs", "rows"), [((LOOKBACK, 2), "lookback"), ((2,), "point")], ids=str
)
def test_numbers_of_classes_fit_probabilities_of_classes(outputs, rows):
    model = sequential(
        keras.layers.LSTM(2, return_sequences=len(outputs) > 1),
        keras.layers.Dense(2, activation="softmax"),
        loss="sparse_categorical_crossentropy",
    )
    model.fit(windows(targets=SIGNS, target_rows=rows), verbose=0)
    other = "point" if rows == "lookback" else "lookback"
    with pytest.raises(ArgumentError, match="targets must be"):
        model.fit(windows(targets=SIGNS, target_rows=other), verbose=0)


def test_a_last_axis_of_one_may_be_there_or_not():
    model = sequential(keras.layers.GRU(1, return_sequences=True))
    model.fit(windows(horizon=LOOKBACK), verbose=0)  # (32, 6) for (32, 6, 1)


# -- stateful batches ----------------------------------------------------------------------------

STATEFUL_REFUSED = {
    "a target at each timestep for one answer": (
        lambda: many_to_one(**STATEFUL),
        stateful,
        r"targets \(2, 4, 1\) for outputs \(2, 1\)\. .* use target_rows=\"last\"",
        lambda: stateful(target_rows="last"),
    ),
    "as many rows as timesteps": (
        lambda: many_to_one(**STATEFUL),
        lambda: stateful(bptt_steps=2),
        r"targets \(2, 2, 1\) for outputs \(2, 1\)",
        lambda: stateful(bptt_steps=2, target_rows="last"),
    ),
    "one target for an answer at each timestep": (
        lambda: many_to_many(**STATEFUL),
        lambda: stateful(target_rows="last"),
        r"targets \(2, 1\) for outputs \(2, 4, 1\)\. .* use target_rows=\"all\"",
        stateful,
    ),
    "a longer horizon": (
        lambda: many_to_many(**STATEFUL),
        lambda: stateful(horizon=3),
        r"targets \(2, 4, 3\) for outputs \(2, 4, 1\)\. .* a horizon of 1",
        stateful,
    ),
}


@pytest.mark.parametrize("kind", STATEFUL_REFUSED)
def test_stateful_batches_unlike_the_outputs_are_refused(kind, tmp_path):
    make, data, words, mended = STATEFUL_REFUSED[kind]
    model = compiled(make())
    with pytest.raises(ArgumentError, match=words):
        fit_stateful(model, data(), 1, backup=tmp_path / "b", progress=False)
    with pytest.raises(ArgumentError, match=words):
        fit_stateful(model, mended(), 1, validation=data(), progress=False)
    history = fit_stateful(model, mended(), 1, progress=False).history
    assert np.isfinite(history["loss"]).all()


@pytest.mark.backends
def test_in_the_fit_of_keras_too():
    model = compiled(many_to_one(**STATEFUL, reset_input=True))
    with pytest.raises(ArgumentError, match=r"targets \(2, 4, 1\) for outputs \(2, 1\)"):
        model.fit(stateful(reset_input=True), shuffle=False, verbose=0)
    model.fit(stateful(reset_input=True, target_rows="last"), shuffle=False, verbose=0)


# -- named inputs --------------------------------------------------------------------------------


def test_masked_windows_for_a_model_of_one_input_are_refused_and_the_fix_leads_to_a_fit():
    holes = WAVE.copy()
    holes[9] = np.nan
    masked = windows(values=holes, missing="mask")
    model = compiled(many_to_one())
    with pytest.raises(ArgumentError, match=r"with the inputs \['past', 'past_mask'\]") as caught:
        model.fit(masked, verbose=0)
    assert "model(past, mask=keras.ops.all(mask, axis=-1))" in str(caught.value)
    past = keras.Input((LOOKBACK, 1), name="past")
    mask = keras.Input((LOOKBACK, 1), name="past_mask", dtype="bool")
    output = model(past, mask=keras.ops.all(mask, axis=-1))
    whole = compiled(keras.Model({"past": past, "past_mask": mask}, output))
    assert np.isfinite(whole.fit(masked, verbose=0).history["loss"]).all()
    x = masked[0][0]
    hidden = {**x, "past": np.where(x["past_mask"], x["past"], 9.0)}
    np.testing.assert_allclose(*(whole.predict_on_batch(values) for values in (x, hidden)))


def test_inputs_of_other_names_are_refused():
    x = keras.Input((LOOKBACK, 1), name="x")
    model = compiled(keras.Model({"x": x}, keras.layers.GRU(1)(x)))
    with pytest.raises(ArgumentError, match=r"model must be one with the inputs \['past', 'sho"):
        model.fit(windows(values={"past": WAVE, "shops": WAVE}, targets=WAVE), verbose=0)


@pytest.mark.parametrize(
    ("model", "data", "fix"),
    [
        (lambda: many_to_one(timesteps=9), windows, "a lookback of 9"),
        (lambda: seqkeras.many_to_one(3, units=2), windows, "series of width 3"),
        (lambda: many_to_one(stateful=True, batch_size=2), windows, "batches of 2 rows"),
    ],
    ids=["lookback", "columns", "rows"],
)
def test_inputs_of_another_shape_are_refused_with_the_shape_to_give(model, data, fix):
    model = compiled(model())
    with pytest.raises(ArgumentError, match=rf"inputs must be of shape .* or give it {fix}"):
        model.fit(data(), verbose=0)
    assert model.optimizer.iterations == 0


def test_a_stateless_model_of_a_fixed_batch_reads_any_number_of_rows():
    x = keras.Input(batch_shape=(4, LOOKBACK, 1))
    model = compiled(keras.Model(x, keras.layers.Dense(1)(x[:, -1])))
    model.fit(windows(), verbose=0)
    assert model.optimizer.iterations > 0


def test_windows_without_targets_are_read_by_a_training_step_of_ones_own():
    class Reconstructing(keras.Model):
        def train_step(self, data):
            return {"loss": keras.ops.mean(data[0] if isinstance(data, tuple) else data)}

    x = keras.Input((LOOKBACK, 1))
    model = compiled(Reconstructing(x, keras.layers.Dense(1)(x)))
    assert "loss" in model.fit(windows(horizon=0), verbose=0).history


def test_windows_without_targets_are_refused_where_there_is_a_loss():
    with pytest.raises(ArgumentError, match="targets must be part of the windows"):
        compiled(many_to_one()).fit(windows(horizon=0), verbose=0)


def test_validation_data_are_judged_before_the_first_epoch():
    model = compiled(many_to_one())
    with pytest.raises(ArgumentError, match=r"targets \(32, 3\) for outputs \(32, 1\)"):
        model.fit(windows(), validation_data=windows(horizon=3), verbose=0)
    assert model.optimizer.iterations == 0


def test_batches_that_continue_each_other_are_not_shuffled_by_fit():
    model = compiled(many_to_many(stateful=True, batch_size=2, reset_input=True))
    with pytest.raises(ArgumentError, match=r"shuffle must be False .* fit\(\.\.\., shuffle=False"):
        model.fit(stateful(reset_input=True), verbose=0)
    assert model.optimizer.iterations == 0


@pytest.mark.parametrize("method", ["fit", "evaluate"])
def test_a_stateful_model_refuses_windows_that_do_not_continue_each_other(method):
    model = compiled(many_to_one(stateful=True, batch_size=1))
    shuffled = Windows(WAVE, WindowSpec(8, stride=8), batch_size=1, shuffle=True)
    in_order = Windows(WAVE, WindowSpec(8, stride=8), batch_size=1)
    with pytest.raises(ArgumentError, match="must be stateless: the windows are shuffled"):
        getattr(model, method)(shuffled, verbose=0)
    getattr(model, method)(in_order, verbose=0, **({"shuffle": False} if method == "fit" else {}))


def test_a_stateful_model_refuses_windows_in_an_order_that_fit_shuffles():
    model = compiled(many_to_one(stateful=True, batch_size=1))
    in_order = Windows(WAVE, WindowSpec(8, stride=8), batch_size=1)
    with pytest.raises(ArgumentError, match="shuffle must be False"):
        model.fit(in_order, verbose=0)


def test_a_stateful_model_refuses_validation_windows_before_the_first_epoch():
    model = compiled(many_to_one(stateful=True, batch_size=1))
    in_order = Windows(WAVE, WindowSpec(8, stride=8), batch_size=1)
    overlapping = Windows(WAVE, WindowSpec(8), batch_size=1)
    with pytest.raises(ArgumentError, match="must be stateless: the windows overlap"):
        model.fit(in_order, shuffle=False, validation_data=overlapping, verbose=0)
    assert model.optimizer.iterations == 0
