"""Interrupted trainings resume as if they had not been interrupted."""

import functools
import os
import pickle
import re
import signal
import sys
import time
import zipfile

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.arrays import assert_arrays_close, assert_arrays_equal
from helpers.examples import covering, examples, long_run_only
from helpers.stock_keras import start_script
from seqkeras import StatefulBatches, many_to_many, many_to_one
from seqkeras._archive import read_archive, write_archive
from seqkeras.errors import ArgumentError, FileFormatError
from seqkeras.training import fit_stateful
from seqkeras.training._backup import KIND, VERSION, Backup

EPOCHS = 7
DROPOUT = 0.2


class Stop(keras.callbacks.Callback):
    """Breaks a training off, as Ctrl-C does, in an epoch or at the end of it."""

    def __init__(self, epoch, batch=None):
        super().__init__()
        self.at, self.epoch = (epoch, batch), None

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if (self.epoch, batch) == self.at:
            raise KeyboardInterrupt

    def on_train_end(self, logs=None):
        if self.at == ("end", None):
            raise KeyboardInterrupt


def spoil(epoch, rate):
    """Learns far too fast from the third epoch on, and so gets worse."""
    return 2.0 if epoch > 1 else rate


def options(problem, **more):
    """Dropout comes with the model; shuffle, validation and patience come here."""
    arguments = {"validation": problem.validation(), "patience": 3, "progress": False}
    return problem.batches(shuffle=True, seed=2), EPOCHS, {**arguments, **more}


def train(problem, model, **more):
    batches, epochs, arguments = options(problem, **more)
    return fit_stateful(model, batches, epochs, **arguments)


@pytest.fixture(scope="module")
def unbroken(problem, snapshot):
    """History and variables of the training that nothing broke off."""
    model = problem.model(DROPOUT)
    history = train(problem, model).history
    # Patience may have ended it, as dropout falls on each backend; another test holds that it can.
    assert 3 < len(history["loss"]) <= EPOCHS
    return history, snapshot(model)


def assert_as_unbroken(unbroken, history, arrays):
    for name, values in unbroken[0].items():
        assert history[name] == pytest.approx(values, rel=1e-5)
    assert_arrays_close(arrays, unbroken[1])


def scrambled(model):
    """The model with other numbers everywhere: only what a backup puts back can make it right.

    The learning rate stays, as it is an argument of `compile`.
    """
    random = np.random.default_rng(8)
    for variable in [*model.weights, *model.optimizer.variables]:
        if "float" in str(variable.dtype) and variable is not model.optimizer.learning_rate:
            variable.assign(random.normal(size=variable.shape))
    return model


@pytest.mark.parametrize(
    ("stops", "reset_input"),
    [
        # False on PyTorch as well: the first `fit` of a model draws more dropout there than later.
        pytest.param([(2, 3)], False, marks=pytest.mark.backends),
        ([(1, 0), (1, 6), (3, 2)], True),
    ],
    ids=str,
)
def test_a_training_that_was_broken_off_goes_on_to_the_same_end(
    problem, snapshot, unbroken, stops, reset_input, tmp_path
):
    def new():
        return problem.model(DROPOUT, reset_input=reset_input)

    file = tmp_path / "training.backup"
    for epoch, batch in stops:
        model = scrambled(new()) if file.exists() else new()
        with pytest.raises(KeyboardInterrupt):
            train(problem, model, backup=file, callbacks=[Stop(epoch, batch)])
        assert file.exists()
    model = scrambled(new())
    history = train(problem, model, backup=file)
    assert_as_unbroken(unbroken, history.history, snapshot(model))
    assert list(tmp_path.iterdir()) == []


def test_a_new_model_takes_the_training_up(problem, snapshot, unbroken, tmp_path):
    file = tmp_path / "training.backup"
    with pytest.raises(KeyboardInterrupt):
        train(problem, problem.model(DROPOUT), backup=file, callbacks=[Stop(3, 1)])
    model = problem.build(DROPOUT, reset_input=True)
    history = train(problem, model, backup=file)
    assert_as_unbroken(unbroken, history.history, snapshot(model))


@long_run_only
def test_without_patience_and_validation_too(problem, snapshot, tmp_path):
    more = {"patience": None, "validation": None}
    whole = problem.model()
    expected, after = train(problem, whole, **more).history, snapshot(whole)
    with pytest.raises(KeyboardInterrupt):
        train(problem, problem.model(), backup=tmp_path / "b", callbacks=[Stop(2, 0)], **more)
    model = scrambled(problem.model())
    history = train(problem, model, backup=tmp_path / "b", **more).history
    assert_as_unbroken((expected, after), history, snapshot(model))


def test_early_stopping_stops_where_it_would_have(problem, snapshot, tmp_path):
    def new():
        return problem.model(DROPOUT)

    def callbacks(*more):
        return [keras.callbacks.LearningRateScheduler(spoil), *more]

    file, whole = tmp_path / "training.backup", new()
    history = train(problem, whole, patience=2, callbacks=callbacks()).history
    after = snapshot(whole)
    last, best = len(history["loss"]) - 1, int(np.argmin(history["val_loss"]))
    assert 0 < best == last - 2 < EPOCHS - 3
    # A single training is broken off at all of these, and remembers its best epoch each time.
    for epoch, batch in [(best, 2), (best + 1, 0), (last, 1), ("end", None), ("end", None)]:
        model = scrambled(new()) if file.exists() else new()
        stopping = callbacks(Stop(epoch, batch))
        with pytest.raises(KeyboardInterrupt):
            train(problem, model, patience=2, backup=file, callbacks=stopping)
    model = scrambled(new())
    actual = train(problem, model, patience=2, backup=file, callbacks=callbacks()).history
    assert_as_unbroken((history, after), actual, snapshot(model))


def test_the_checkpoint_stays_that_of_the_best_epoch(problem, tmp_path):
    file, best_file, weights = tmp_path / "training.backup", tmp_path / "best.keras", {}
    spoiling = keras.callbacks.LearningRateScheduler(spoil)
    keep = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: weights.setdefault(epoch, model.get_weights())
    )
    batches, _, arguments = options(problem, patience=None, backup=file, checkpoint=best_file)
    for stops in ([Stop(3, 2)], [Stop(4, 1)], []):
        model, callbacks = problem.model(), [keep, spoiling, *stops]
        if stops:
            with pytest.raises(KeyboardInterrupt):
                fit_stateful(model, batches, 5, callbacks=callbacks, **arguments)
        else:
            history = fit_stateful(model, batches, 5, callbacks=callbacks, **arguments).history
    best = int(np.argmin(history["val_loss"]))
    assert best < 2  # found before the first break, and not forgotten
    loaded = keras.saving.load_model(best_file)
    assert_arrays_equal(loaded.get_weights(), weights[best])


def test_a_backup_changes_nothing_and_is_removed_at_the_end(problem, snapshot, unbroken, tmp_path):
    model = problem.model(DROPOUT)
    history = train(problem, model, backup=str(tmp_path / "of [a] training"))
    assert_as_unbroken(unbroken, history.history, snapshot(model))
    assert list(tmp_path.iterdir()) == []


def test_a_training_that_is_over_runs_no_more_epochs(problem, snapshot, tmp_path):
    file, model = tmp_path / "training.backup", problem.model()
    batches, _, arguments = options(problem, patience=None, backup=file)
    with pytest.raises(KeyboardInterrupt):
        fit_stateful(model, batches, 3, callbacks=[Stop("end")], **arguments)
    after = snapshot(model)
    again = scrambled(problem.model())
    batches, _, arguments = options(problem, patience=None, backup=file)
    history = fit_stateful(again, batches, 3, **arguments).history
    assert {len(values) for values in history.values()} == {3}
    assert_arrays_close(snapshot(again), after, atol=1e-6)
    assert not file.exists()


def test_more_epochs_may_be_asked_for(problem, snapshot, tmp_path):
    whole = problem.model()
    batches, _, arguments = options(problem, patience=None)
    expected, after = fit_stateful(whole, batches, 4, **arguments).history, snapshot(whole)
    model = problem.model()
    with pytest.raises(KeyboardInterrupt):
        fit_stateful(model, batches, 2, callbacks=[Stop("end")], backup=tmp_path / "b", **arguments)
    model = scrambled(problem.model())
    history = fit_stateful(model, batches, 4, backup=tmp_path / "b", **arguments)
    assert_as_unbroken((expected, after), history.history, snapshot(model))
    assert history.epoch == [0, 1, 2, 3]


# -- killed --------------------------------------------------------------------------------------

# A training in a process of its own, which tells its number after each epoch, and does not end.
TRAIN = """
import os, runpy, sys, time
import keras
sys.path[:] = PATHS
problem = runpy.run_path(PROBLEM)["Problem"]()
tests = runpy.run_path(TESTS)
told = open(TOLD, "w", buffering=1)
tell = keras.callbacks.LambdaCallback(
    on_epoch_end=lambda epoch, logs: print(os.getpid(), file=told),
    on_epoch_begin=lambda epoch, logs: time.sleep(300 * (epoch == tests["EPOCHS"] - 1)),
)
model = problem.build(tests["DROPOUT"], reset_input=True)
tests["train"](problem, model, backup=BACKUP, checkpoint=BEST, callbacks=[tell])
"""


def start(folder, told):
    """Start a training; return its process id after an epoch, and a function that awaits its end.

    Python and Keras take longer to start than to train: the process is a fork of one of both.
    """
    told.unlink(missing_ok=True)
    values = {
        "PATHS": sys.path,
        "PROBLEM": os.path.join(os.path.dirname(__file__), "conftest.py"),
        "TESTS": __file__,
        "TOLD": str(told),
        "BACKUP": str(folder / "training.backup"),
        "BEST": str(folder / "best.keras"),
    }
    end = start_script("\n".join(f"{name} = {value!r}" for name, value in values.items()) + TRAIN)
    latest = time.monotonic() + 200
    while not (told.exists() and told.read_text().endswith("\n")):
        assert time.monotonic() < latest, end()
        time.sleep(0.001)
    return int(told.read_text().split()[0]), end


def kill_while_writing(process, folder):
    """Kills as soon as a file is half written."""
    latest = time.monotonic() + 20  # if each was written between two looks
    while time.monotonic() < latest:
        if (folder / "training.backup").exists() and any(folder.glob("*.part*")):
            break
    os.kill(process, signal.SIGKILL)


def kill_at_random(process, folder):
    """Kills after some time."""
    time.sleep(np.random.default_rng().uniform(0, 0.05))
    os.kill(process, signal.SIGKILL)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no such signal here")
def test_a_training_whose_process_is_killed_comes_to_the_same_end_in_another(
    problem, snapshot, unbroken, tmp_path, tmp_path_factory
):
    told = tmp_path_factory.mktemp("told") / "epochs"
    # In the long profile it is killed again and again.
    for kill in covering([kill_while_writing, kill_at_random, kill_at_random], 3):
        process, end = start(tmp_path, told)
        kill(process, tmp_path)
        with pytest.raises(RuntimeError, match=f"ended with status {int(signal.SIGKILL)}"):
            end()
        assert (tmp_path / "training.backup").exists()
    file, best_file = tmp_path / "training.backup", tmp_path / "best.keras"
    model = scrambled(problem.model(DROPOUT))
    history = train(problem, model, backup=file, checkpoint=best_file)
    assert_as_unbroken(unbroken, history.history, snapshot(model))
    assert list(tmp_path.iterdir()) == [best_file]
    # Patience put the best weights back.
    assert_arrays_close(keras.saving.load_model(best_file).get_weights(), model.get_weights())


# -- what is refused -----------------------------------------------------------------------------

RUN = {"batches": 8, "steps": 90}


@functools.cache
def same_model():
    """A model for what must not move it."""
    return small_model()


@functools.cache
def restored_model():
    """A model that backups are put back into."""
    return small_model()


def small_model(optimizer=None, units=2):
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(units)])
    model.compile(optimizer or keras.optimizers.SGD(0.1, momentum=0.9), "mse")
    model.optimizer.build(model.trainable_variables)
    return model


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """The bytes of a backup, and the model that it is of."""
    file, model = tmp_path_factory.mktemp("backups") / "training.backup", small_model()
    backup = Backup(file, RUN, None)
    backup.set_model(model)
    model.fit(np.ones((4, 3)), np.ones((4, 2)), epochs=2, verbose=0, callbacks=[backup])
    return file.read_bytes(), model


def refused(data, file, error, model=None, run=RUN):
    """The message about a file; nothing of the model may have moved."""
    file.write_bytes(data)
    model = model or same_model()
    before = [v.numpy().copy() for v in [*model.variables, *model.optimizer.variables]]
    backup = Backup(file, run, None)
    with pytest.raises(error) as caught:
        backup.restore(model)
    for variable, value in zip([*model.variables, *model.optimizer.variables], before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)
    assert (backup.history, backup.epochs_done) == ({}, 0)
    assert str(file) in str(caught.value)
    return str(caught.value)


def test_a_backup_puts_back_weights_optimizer_history_and_epoch(stored, snapshot, tmp_path):
    data, model = stored
    (tmp_path / "b").write_bytes(data)
    again, backup = small_model(), Backup(tmp_path / "b", RUN, None)
    backup.restore(again)
    assert_arrays_equal(snapshot(again), snapshot(model))
    assert (backup.epochs_done, len(backup.history["loss"]), backup.stopped) == (2, 2, False)


def test_without_a_file_nothing_is_put_back(snapshot, tmp_path):
    model = small_model()
    before, backup = snapshot(model), Backup(tmp_path / "b", RUN, None)
    backup.restore(model)
    assert_arrays_equal(snapshot(model), before)
    assert backup.epochs_done == 0


def test_a_backup_is_an_archive_of_arrays_and_json(stored, tmp_path):
    (tmp_path / "b").write_bytes(stored[0])
    archive = read_archive(tmp_path / "b", kind=KIND, version=VERSION)
    assert archive.header["epochs"] == 2
    assert archive.arrays["history/loss"].shape == (2,)
    assert archive.arrays.keys() >= {"model/0", "model/1", "optimizer/0"}


@pytest.mark.parametrize(
    "dtype",
    [pytest.param("bfloat16", marks=pytest.mark.backends), "float16", "mixed_bfloat16"],
)
def test_a_backup_keeps_every_dtype_exactly(dtype, tmp_path):
    def build():
        keras.utils.set_random_seed(1)
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, dtype=dtype)])
        model.compile(keras.optimizers.SGD(0.1, momentum=0.9), "mse", run_eagerly=True)
        return model

    stopping = keras.callbacks.EarlyStopping("loss", restore_best_weights=True)
    model, backup = build(), Backup(tmp_path / "b", RUN, stopping)
    model.fit(np.ones((4, 3)), np.ones((4, 2)), epochs=2, verbose=0, callbacks=[stopping, backup])
    again = build()
    Backup(tmp_path / "b", RUN, keras.callbacks.EarlyStopping("loss")).restore(again)
    variables = zip(
        [*again.variables, *again.optimizer.variables],
        [*model.variables, *model.optimizer.variables],
        strict=True,
    )
    for variable, expected in variables:
        assert variable.dtype == expected.dtype
        np.testing.assert_array_equal(to_numpy(variable), to_numpy(expected))


def to_numpy(variable):
    return keras.ops.convert_to_numpy(keras.ops.cast(variable, "float32"))


@examples(7)
@given(share=st.floats(0, 0.9999))
def test_a_truncated_backup_is_refused(stored, tmp_path_factory, share):
    file = tmp_path_factory.getbasetemp() / "truncated.backup"
    data = stored[0]
    message = refused(data[: int(len(data) * share)], file, FileFormatError)
    assert "is not a seqkeras.Backup file, or is damaged" in message
    assert "Delete it to start from scratch" in message


@examples(20)
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_is_refused_or_was_of_no_matter(stored, tmp_path_factory, place, bit):
    file = tmp_path_factory.getbasetemp() / "flipped.backup"
    data = bytearray(stored[0])
    data[int(len(data) * place)] ^= 1 << bit
    file.write_bytes(data)
    try:
        Backup(file, RUN, None).restore(model := scrambled(restored_model()))
    except FileFormatError:
        refused(bytes(data), file, FileFormatError)
    else:
        # Such as the time that the archive says a part was written at.
        assert_arrays_equal(model.get_weights(), stored[1].get_weights())


def test_a_weight_that_changed_on_the_disk_is_refused(stored, tmp_path):
    data = bytearray(stored[0])
    kernel = stored[1].get_weights()[0].tobytes()
    data[data.index(kernel) + 5] ^= 1
    assert "damaged" in refused(bytes(data), tmp_path / "b", FileFormatError)


def edited(data, folder, header=lambda header: header, version=VERSION, **arrays):
    """Return a backup with another header or other arrays; None removes an array."""
    file = folder / "edited.backup"
    file.write_bytes(data)
    archive = read_archive(file, kind=KIND, version=VERSION)
    parts = {**archive.arrays, **arrays}
    parts = {name: array for name, array in parts.items() if array is not None}
    write_archive(file, header(archive.header), parts, kind=KIND, version=version)
    return file.read_bytes()


@pytest.mark.parametrize(
    "data",
    [b"", b"no zip at all", b"PK\x03\x04", pickle.dumps({"version": 1}), b"\x93NUMPY\x01\x00"],
    ids=["empty", "text", "head of a zip", "pickle", "head of an array"],
)
def test_a_file_of_another_kind_is_refused(data, tmp_path):
    message = refused(data, tmp_path / "b", FileFormatError)
    assert "is not a seqkeras.Backup file, or is damaged" in message


def test_a_keras_file_is_refused(tmp_path):
    small_model().save(tmp_path / "m.keras")
    refused((tmp_path / "m.keras").read_bytes(), tmp_path / "b", FileFormatError)


def test_an_archive_with_a_pickle_is_refused_and_not_read(tmp_path):
    class Harm:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "harm"),))

    np.savez(tmp_path / "p.npz", header=np.array([Harm()], dtype=object))
    refused((tmp_path / "p.npz").read_bytes(), tmp_path / "b", FileFormatError)
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize(
    "header",
    [
        lambda header: [],
        lambda header: 3,
        lambda header: {},
        lambda header: {**header, "epochs": 0},
        lambda header: {**header, "epochs": 3},
        lambda header: {**header, "run": "first"},
        lambda header: {**header, "stopping": {"wait": 1}},
        lambda header: {name: value for name, value in header.items() if name != "epochs"},
        lambda header: {name: value for name, value in header.items() if name != "stopping"},
        lambda header: {name: value for name, value in header.items() if name != "history"},
    ],
    ids=[
        "list",
        "number",
        "empty",
        "no epoch",
        "other epochs",
        "run is text",
        "part of stopping",
        "no epochs",
        "no stopping",
        "no history",
    ],
)
def test_a_header_that_is_no_header_is_refused(stored, header, tmp_path):
    data = edited(stored[0], tmp_path, header)
    refused(data, tmp_path / "b", FileFormatError)


def test_a_backup_of_a_later_version_is_refused_with_both(stored, tmp_path):
    message = refused(edited(stored[0], tmp_path, version=99), tmp_path / "b", FileFormatError)
    assert "written by a later version of seqkeras (format 99, this one reads up to 1)" in message


@pytest.mark.parametrize(
    "arrays",
    [
        {"model/0": None},
        {"model/1": None},
        {"optimizer/3": None},
        {"model/2": np.zeros(2)},
        {"history/loss": None},
    ],
    ids=str,
)
def test_a_backup_that_lacks_arrays_or_has_too_many_is_refused(stored, arrays, tmp_path):
    data = edited(stored[0], tmp_path, **arrays)
    refused(data, tmp_path / "b", (FileFormatError, ArgumentError))


def test_the_backup_of_another_training_is_refused_with_both(stored, tmp_path):
    message = refused(stored[0], tmp_path / "b", ArgumentError, run={"batches": 9, "steps": 90})
    assert "backup must belong to this training run." in message
    assert "of a run with batches 8 (now 9). Use another file" in message


def test_the_backup_of_another_model_is_refused_with_the_shapes(stored, tmp_path):
    message = refused(stored[0], tmp_path / "b", ArgumentError, small_model(units=4))
    assert "backup must belong to this training run." in message
    assert "(3, 2)" in message
    assert "(3, 4)" in message


@pytest.mark.parametrize(
    "optimizer", [keras.optimizers.Adam, keras.optimizers.SGD], ids=["Adam", "SGD"]
)
def test_the_backup_of_another_optimizer_is_refused(stored, tmp_path, optimizer):
    message = refused(stored[0], tmp_path / "b", ArgumentError, small_model(optimizer(0.1)))
    assert "optimizer" in message


SERIES = [np.sin(np.arange(9.0)), np.cos(np.arange(7.0))]
# What differs from the training that was broken off, and the words that say so.
CHANGES = {
    "other data": ({"series": [SERIES[0], SERIES[1] + 1e-6]}, "data "),
    "other targets": ({"targets": [-values for values in SERIES]}, "data "),
    "another horizon": ({"horizon": 2, "outputs": 2}, "steps 14 (now 12)"),
    "one target for each row": ({"target_rows": "last"}, "data "),
    "shuffled": ({"shuffle": True}, "shuffle False (now True)"),
    "other dropout": ({"dropout": 0.5}, "model "),
    "another loss": ({"loss": "mae"}, "loss 'mse' (now 'mae')"),
    "another optimizer": ({"optimizer": keras.optimizers.Adamax}, "'Adam' (now 'Adamax')"),
    "another learning rate": ({"rate": 0.5}, "optimizer learning_rate 0.01 (now 0.5)"),
    "clipped": ({"clipnorm": 1.0}, "optimizer clipnorm None (now 1.0)"),
    "validated": ({"validation": SERIES}, "validation None"),
    "fewer epochs": ({"epochs": 1}, "epochs must be at least 2, the number of epochs in the"),
}


def small_training(folder, callbacks=(), name="b", **changes):
    """Two epochs that can be changed in every way."""
    made = {"series": SERIES, "rate": 0.01, "optimizer": keras.optimizers.Adam, **changes}
    sizes = {"batch_size": 2, "bptt_steps": 3, "seed": 1}
    names = ("targets", "horizon", "target_rows", "shuffle")
    data = {name: made[name] for name in names if name in made}
    build = many_to_one if made.get("target_rows") == "last" else many_to_many
    model = build(
        1, units=2, stateful=True, batch_size=2, dropout=made.get("dropout", 0.0),
        outputs=made.get("outputs", 1),
    )  # fmt: skip
    options = {"clipnorm": made["clipnorm"]} if "clipnorm" in made else {}
    model.compile(
        made["optimizer"](made["rate"], **options), made.get("loss", "mse"), run_eagerly=True
    )
    validation = None
    if "validation" in made:
        validation = StatefulBatches(made["validation"], **sizes)
    batches = StatefulBatches(made["series"], **{**sizes, **data})
    history = fit_stateful(
        model, batches, made.get("epochs", 3), validation=validation, backup=folder / name,
        callbacks=callbacks, progress=False,
    )  # fmt: skip
    return history.history, model


@pytest.fixture(scope="module")
def broken_off(tmp_path_factory):
    """The bytes of a backup after two epochs."""
    folder = tmp_path_factory.mktemp("broken")
    with pytest.raises(KeyboardInterrupt):
        small_training(folder, [Stop(2, 0)])
    return (folder / "b").read_bytes()


@pytest.mark.parametrize("change", CHANGES)
def test_a_backup_does_not_go_on_with_another_training(broken_off, change, tmp_path):
    (tmp_path / "b").write_bytes(broken_off)
    changes, words = CHANGES[change]
    with pytest.raises(ArgumentError, match=re.escape(words)):
        small_training(tmp_path, **changes)
    assert (tmp_path / "b").read_bytes() == broken_off


@long_run_only
def test_a_training_with_a_scaled_loss_goes_on(tmp_path):
    def optimizer(rate):
        return keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(rate), initial_scale=8.0)

    keras.utils.set_random_seed(0)
    _, unbroken = small_training(tmp_path, name="unbroken", optimizer=optimizer)
    keras.utils.set_random_seed(0)
    with pytest.raises(KeyboardInterrupt):
        small_training(tmp_path, [Stop(2, 0)], optimizer=optimizer)
    _, model = small_training(tmp_path, optimizer=optimizer)
    assert_arrays_close(model.get_weights(), unbroken.get_weights())
    assert len(model.optimizer.variables) == len(unbroken.optimizer.variables)


def test_a_backup_goes_on_for_more_epochs_and_with_a_rate_that_a_callback_lowered(tmp_path):
    def schedule():
        return keras.callbacks.LearningRateScheduler(lambda epoch: 0.01 / (1 + epoch))

    with pytest.raises(KeyboardInterrupt):
        small_training(tmp_path, [schedule(), Stop(2, 0)])
    history, model = small_training(tmp_path, [schedule()], epochs=4)
    assert len(history["loss"]) == 4
    assert float(model.optimizer.learning_rate) == pytest.approx(0.0025)


def test_a_seed_that_was_drawn_is_that_of_the_training_that_is_resumed(problem, snapshot, tmp_path):
    series = problem.series()

    def run(seed, stop=()):
        batches = StatefulBatches(series, batch_size=3, bptt_steps=4, shuffle=True, seed=seed)
        model = problem.model()
        fit_stateful(model, batches, 3, backup=tmp_path / "b", callbacks=stop, progress=False)
        return snapshot(model)

    with pytest.raises(KeyboardInterrupt):
        run(None, [Stop(1, 2)])
    seed = read_archive(tmp_path / "b", kind=KIND, version=VERSION).header["run"]["seed"]
    assert_arrays_close(run(None), run(seed))


def test_a_backup_in_use_is_refused_and_free_again_afterwards(tmp_path):
    pytest.importorskip("fcntl", reason="no such locks here")
    errors = []

    def meddle(epoch, logs):
        try:
            small_training(tmp_path)
        except ArgumentError as error:
            errors.append(str(error))

    small_training(tmp_path, [keras.callbacks.LambdaCallback(on_epoch_end=meddle)], epochs=2)
    assert len(errors) == 2
    assert "backup must be a file that no other training run is using" in errors[0]
    assert list(tmp_path.iterdir()) == []
    small_training(tmp_path, epochs=1)


@pytest.mark.parametrize("file", ["b", "run[1].backup"])
def test_the_end_of_a_training_removes_what_a_kill_left_of_its_own_file_alone(tmp_path, file):
    mine = [f".{file}.12.7f00.part", f".{file}.12345.1.part.backup"]
    others = [
        f".{file}.2.12.7f00.part", ".c.12.34.part", f"{file}.part", f".{file}.12.34.party",
        f"{file}.notes",
    ]  # fmt: skip
    for name in (*mine, *others):
        (tmp_path / name).touch()
    small_training(tmp_path, name=file, epochs=1)
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted(others)


def test_checkpoint_and_backup_are_two_files(problem, tmp_path):
    file = tmp_path / "m.keras"
    with pytest.raises(ArgumentError, match="checkpoint must be a different file from the backup"):
        train(problem, problem.model(), backup=file, checkpoint=tmp_path / "." / "m.keras")


def test_a_checkpoint_that_cannot_be_written_leaves_no_part(problem, tmp_path):
    class Unwritable(keras.Model):
        def get_config(self):
            raise OSError("no space left on device")

    plain = many_to_many(1, units=2, stateful=True, batch_size=3)
    model = Unwritable(plain.input, plain.output)
    model.compile("sgd", "mse", run_eagerly=True)
    with pytest.raises(OSError, match="no space"):
        fit_stateful(model, problem.batches(), 1, checkpoint=tmp_path / "m.keras", progress=False)
    assert list(tmp_path.iterdir()) == []


def test_in_a_training_a_refusal_comes_before_the_first_epoch(problem, snapshot, tmp_path):
    file, model = tmp_path / "training.backup", problem.model()
    with pytest.raises(KeyboardInterrupt):
        train(problem, model, backup=file, callbacks=[Stop(1, 0)])
    whole, before = file.read_bytes(), snapshot(model)
    other = problem.batches(shuffle=True, seed=3)
    with pytest.raises(ArgumentError, match="backup must belong to this training run"):
        fit_stateful(model, other, EPOCHS, backup=file, progress=False)
    file.write_bytes(whole[:-100])
    with pytest.raises(FileFormatError, match="damaged"):
        train(problem, model, backup=file)
    assert file.read_bytes() == whole[:-100]
    assert_arrays_equal(snapshot(model), before)
    with zipfile.ZipFile(file, "w"):
        pass
    with pytest.raises(FileFormatError, match="Delete it to start from scratch"):
        train(problem, model, backup=file)
