"""The bar of a training on a terminal, and lines elsewhere."""

import contextlib
import functools
import os
import select
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from seqkeras.training import ProgressBar, _progress, fit_stateful

pty = pytest.importorskip("pty", reason="there are no such terminals here")
termios = pytest.importorskip("termios")


@functools.cache
def model(steps=1):
    small = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    small.compile("sgd", "mse", steps_per_execution=steps)
    return small


def train(epochs=3, first_epoch=0, steps=1):
    """A training of 4 batches for each epoch."""
    bar = ProgressBar(epochs, 4, "training", first_epoch=first_epoch)
    model(steps).fit(
        np.ones((8, 1)),
        np.ones((8, 1)),
        batch_size=2,
        epochs=epochs,
        initial_epoch=first_epoch,
        verbose=0,
        callbacks=[bar],
    )


@contextlib.contextmanager
def terminal():
    """Makes a terminal of what goes to stderr; gives a function for what stands there so far."""
    reader, writer = pty.openpty()
    termios.tcsetwinsize(writer, (24, 120))
    with os.fdopen(writer, "w") as screen, contextlib.redirect_stderr(screen):

        def read():
            screen.flush()
            drawn = b""
            # What is written comes through a moment later.
            while select.select([reader], [], [], 0.2)[0]:
                drawn += os.read(reader, 1_000_000)
            return drawn.decode()

        yield read
    os.close(reader)


def clean(drawn):
    """Whether an empty line is the last thing drawn, with the cursor at its beginning."""
    return drawn.endswith("\r") and not drawn.split("\r")[-2].strip() and "\n" not in drawn


def test_a_short_training_is_silent_where_there_is_no_terminal(capfd):
    train()
    assert capfd.readouterr() == ("", "")


def test_a_long_training_writes_lines_where_there_is_no_terminal(capfd, monkeypatch):
    assert _progress.LINE_SECONDS == 10
    clock = iter([100.0, 109.0, 110.0, 119.0])
    monkeypatch.setattr(_progress, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    bar = ProgressBar(3, 4, "training")
    bar.on_epoch_begin(0)
    bar.on_epoch_end(0, {"loss": 0.5})
    bar.on_epoch_begin(1)
    bar.on_epoch_end(1, {"loss": 0.25, "val_loss": 1})
    bar.on_epoch_begin(2)
    bar.on_epoch_end(2, {"loss": 0.125})
    bar.on_train_end()
    lines = "training: epoch 2/3, loss=0.2500, val_loss=1.0000\n"
    assert capfd.readouterr() == ("", lines)


def test_a_training_on_tokens_shows_how_many_it_reads_in_a_second(capfd, monkeypatch):
    clock = iter([100.0, 100.0, 120.0, 120.0])
    monkeypatch.setattr(_progress, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    bar = ProgressBar(1, 4, "training", tokens=500)
    bar.on_epoch_begin(0)
    bar.on_epoch_end(0, {"loss": 0.5})
    assert capfd.readouterr().err == "training: epoch 1/1, loss=0.5000, tokens/s=100\n"


def test_on_a_terminal_the_bar_counts_tokens():
    with terminal() as read:
        bar = ProgressBar(2, 4, "training", tokens=500)
        bar.on_epoch_begin(0)
        bar._progress._bar.mininterval = 0
        bar.on_train_batch_end(2)
        drawn = read()
    assert "1500/4000" in drawn
    assert "token/s" in drawn


def test_other_work_writes_lines_unless_it_is_hidden(capfd, monkeypatch):
    monkeypatch.setattr(_progress, "LINE_SECONDS", 0)
    for is_hidden in (False, True):
        with _progress.Progress(3, "tune", "trial", is_hidden=is_hidden) as progress:
            progress.update(1)
            progress.report("trial 1/3", {"best": "0.5"})
            progress.report("trial 2/3", {})
    assert capfd.readouterr() == ("", "tune: trial 1/3, best=0.5\ntune: trial 2/3\n")


def test_a_terminal_gets_no_lines(monkeypatch):
    monkeypatch.setattr(_progress, "LINE_SECONDS", 0)
    with terminal() as read:
        bar = ProgressBar(1, 1, "training")
        bar.on_epoch_begin(0)
        bar.on_train_batch_end(0)
        bar.on_epoch_end(0, {"loss": 0.5})
        bar.on_train_end()
        drawn = read()
    assert "epoch 1/1" not in drawn
    assert clean(drawn)


def test_a_notebook_gets_the_bar_of_notebooks():
    from tqdm import auto

    assert isinstance(_progress.Progress(1, "training", "batch")._bar, auto.tqdm)


@pytest.mark.parametrize("steps", [1, 4])
def test_a_terminal_shows_the_bar_and_is_clean_in_the_end(steps):
    if steps > 1 and keras.backend.backend() == "torch":
        pytest.skip("Keras takes one step at a time on PyTorch")
    with terminal() as read:
        train(steps=steps)
        drawn = read()
    assert "training:   0%" in drawn
    assert " 0/12" in drawn
    assert "batch" in drawn
    assert "loss=" in drawn
    assert clean(drawn)


def test_the_bar_goes_on_where_the_training_does():
    with terminal() as read:
        train(epochs=3, first_epoch=2)
        drawn = read()
    assert " 8/12" in drawn
    assert " 0/12" not in drawn


def test_the_bar_reaches_its_end():
    with terminal() as read:
        train()
        drawn = read()
    assert "100%" in drawn
    assert "12/12" in drawn


def test_a_bar_counts_the_batches_of_all_epochs():
    with terminal() as read:
        bar = ProgressBar(2, 3, "training")
        shown = []
        for epoch in range(2):
            bar.on_epoch_begin(epoch)
            for batch in range(3):
                bar.on_train_batch_end(batch)
            bar.on_epoch_end(epoch, {"loss": 0.12345})
            shown.append(read())
        bar.on_train_end()
        assert clean(read())
    assert "3/6" in shown[0]
    assert "loss=0.1235" in shown[0]
    assert "6/6" in shown[1]


@pytest.mark.parametrize("progress", [True, False])
def test_fit_stateful_draws_if_asked_and_on_a_terminal(problem, progress):
    with terminal() as read:
        fit_stateful(problem.model(), problem.batches(), 1, progress=progress)
        drawn = read()
    assert ("training" in drawn) == progress
    assert clean(drawn) == progress
    assert progress or not drawn


def test_fit_stateful_is_silent_without_a_terminal(problem, capfd):
    fit_stateful(problem.model(), problem.batches(), 1)
    assert capfd.readouterr() == ("", "")


def test_after_an_interruption_the_next_bar_is_as_the_first(problem):
    def stop(batch, logs):
        raise KeyboardInterrupt

    callbacks = [keras.callbacks.LambdaCallback(on_train_batch_end=stop)]
    with terminal() as read:
        with pytest.raises(KeyboardInterrupt):
            fit_stateful(problem.model(), problem.batches(), 1, callbacks=callbacks)
        read()
        fit_stateful(problem.model(), problem.batches(), 1)
        assert clean(read())
