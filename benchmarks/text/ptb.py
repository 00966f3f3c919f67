"""Words of the Penn Treebank: the small LSTM of Zaremba et al. 2014 on one thread of the CPU.

    python benchmarks/text/ptb.py DATA [--samples 1000 4000] [--seed 0] [--save FILE.keras]
    python benchmarks/text/ptb.py DATA --load FILE.keras        # only the evaluation
    python benchmarks/text/ptb.py DATA --validate --epochs 4 --save 4.keras
    python benchmarks/text/ptb.py DATA --validate --load 4.keras --first 4 --samples 0 0

DATA is the folder with `ptb.train.txt.gz`, `ptb.valid.txt.gz` and `ptb.test.txt.gz` (Mikolov's
version, 10,000 words, `<eos>` at each end of a line counts). Recipe of the paper (arXiv 1409.2329):
2 layers of 200 units, 20 rows of 20 steps with their state carried on, weights from U(-0.1, 0.1),
forget bias 0, plain gradient descent with rate 1, halved in each epoch from the fifth, norm of the
gradients at most 5 for the loss summed over time, 13 epochs; test perplexity there 114.5.

Two things differ. The softmax over 10,000 words is three quarters of the work, so training computes
it on `--samples` words, drawn for each batch (`seqkeras.training.sampled_softmax`; 0 computes all):
one number for the four epochs with the rate 1, one for those after. And training ends when three
epochs were no better on the validation part, and the best of them is kept. Validation and test
compute all words. Times are CPU seconds of this process, training without validation.

With `--validate`, the test part is not read. `--first 4` goes on from a saved model with the fifth
epoch, so several ends can be tried after one beginning.
"""

import os

os.environ.setdefault("SEQKERAS_THREADS", "1")
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import gzip
import time
from pathlib import Path

import keras
import numpy as np

from seqkeras.models import language_model
from seqkeras.text import Perplexity, TokenBatches, TokenCrossEntropy, Vocabulary
from seqkeras.training import dynamic_evaluation, fit_stateful, sampled_softmax

ROWS, STEPS, UNITS, CONSTANT_EPOCHS, PATIENCE = 20, 20, 200, 4, 3
#: Learning rates and decays among which the validation part chooses for dynamic evaluation.
RATES, DECAYS = (0.0001, 0.0003, 0.001), (0.0, 0.001)


def read(folder):
    parts = {}
    for name in ("train", "valid", "test"):
        with gzip.open(folder / f"ptb.{name}.txt.gz", "rt") as file:
            parts[name] = [word for line in file for word in (*line.split(), "<eos>")]
    vocabulary = Vocabulary(parts["train"])
    return vocabulary, {name: np.array(vocabulary.ids(words)) for name, words in parts.items()}


def build(size, rows):
    return language_model(
        size,
        units=(UNITS, UNITS),
        initializer=keras.initializers.RandomUniform(-0.1, 0.1),
        layer_options={"unit_forget_bias": False},
        stateful=True,
        reset_input=True,
        batch_size=rows,
    )


def compiled(model, rate=1.0):
    optimizer = keras.optimizers.SGD(rate, global_clipnorm=5.0)
    model.compile(optimizer, TokenCrossEntropy("sum_over_time"), weighted_metrics=[Perplexity()])
    return model


def in_order(ids, rows=1, steps=STEPS):
    return TokenBatches(
        ids,
        batch_size=rows,
        timesteps=steps,
        partition="sequential",
        random_start=False,
        reset_input=True,
    )


class Curve(keras.callbacks.Callback):
    """Prints an epoch a line, and counts the CPU seconds of training and of validation."""

    def __init__(self, first):
        super().__init__()
        self.first = first
        self.training = self.validation = 0.0

    def on_train_begin(self, logs=None):
        self.start = time.process_time()
        self.start_validation = self.validation

    def on_train_end(self, logs=None):
        self.training = self.seconds()

    def on_test_begin(self, logs=None):
        self.test_start = time.process_time()

    def on_test_end(self, logs=None):
        self.validation += time.process_time() - self.test_start

    def on_epoch_begin(self, epoch, logs=None):
        halvings = max(0, self.first + epoch + 1 - CONSTANT_EPOCHS)
        self.model.optimizer.learning_rate = 0.5**halvings

    def on_epoch_end(self, epoch, logs=None):
        print(
            f"epoch {self.first + epoch + 1:2d}: loss {logs['loss']:.3f} (sum over time), "
            f"valid perplexity {logs['val_perplexity']:.2f}, training {self.seconds():.0f} s",
            flush=True,
        )

    def seconds(self):
        validation = self.validation - self.start_validation
        return self.training + time.process_time() - self.start - validation


def step_cost(model, size, calls=20):
    """Return the CPU milliseconds of a training step."""
    ids = np.random.default_rng(0).integers(0, size, (ROWS, STEPS + 1)).astype("int32")
    x = {"sequence": ids[:, :-1], "reset": np.zeros((ROWS, 1), bool)}
    for call in range(calls + 2):
        if call == 2:
            start = time.process_time()
        model.train_on_batch(x, ids[:, 1:])
    return 1000 * (time.process_time() - start) / calls


def print_costs(size, samples):
    few = 100  # with so few words the softmax costs next to nothing
    lines = {
        "all words": compiled(build(size, ROWS)),
        **{
            f"{count} sampled words": compiled(sampled_softmax(build(size, ROWS), count, seed=0))
            for count in samples
        },
        f"a vocabulary of {few} words": compiled(build(few, ROWS)),
    }
    for name, model in lines.items():
        cost = step_cost(model, few)
        print(f"a step of {ROWS} x {STEPS} tokens with {name}: {cost:.1f} ms", flush=True)


def train(model, ids, options):
    counts = np.bincount(ids["train"], minlength=model.output_shape[-1])
    curve = Curve(options.first)
    valid = in_order(ids["valid"], ROWS)
    for samples, end in zip(options.samples, (CONSTANT_EPOCHS, options.epochs), strict=True):
        epochs = min(end, options.epochs) - curve.first
        if epochs <= 0:
            continue
        fast = model
        if samples:
            fast = sampled_softmax(model, samples, frequencies=counts, seed=options.seed)
        batches = TokenBatches(
            ids["train"],
            batch_size=ROWS,
            timesteps=STEPS,
            partition="sequential",
            seed=options.seed + curve.first,
            reset_input=True,
        )
        fit_stateful(
            compiled(fast),
            batches,
            epochs,
            validation=valid,
            patience=PATIENCE if end > CONSTANT_EPOCHS else None,
            callbacks=[curve],
            progress=False,
        )
        curve.first += epochs
    minutes = curve.training / 60
    print(f"training: {minutes:.1f} CPU minutes; validation {curve.validation:.0f} s", flush=True)


def judge(model, ids):
    """Print the static and the dynamic perplexity of the test part, one row from start to end."""
    size = model.output_shape[-1]
    reader = compiled(build(size, 1))
    reader.set_weights(model.get_weights())
    for name in ("valid", "test"):
        logs = reader.evaluate(in_order(ids[name], steps=200), verbose=0, return_dict=True)
        print(f"{name} perplexity {logs['perplexity']:.2f}", flush=True)
    statistics = in_order(ids["train"][: 20 * 2000], steps=STEPS)
    part = in_order(ids["valid"][:20_000])

    def dynamic(batches, rate, decay):
        return dynamic_evaluation(
            reader, batches, statistics=statistics, learning_rate=rate, decay=decay
        ).perplexity

    settings = [(rate, decay) for rate in RATES for decay in DECAYS]
    scores = [dynamic(part, *setting) for setting in settings]
    for setting, score in zip(settings, scores, strict=True):
        print(f"dynamic, first 20,000 words of valid, rate and decay {setting}: {score:.2f}")
    best = settings[int(np.argmin(scores))]
    start = time.process_time()
    score = dynamic(in_order(ids["test"]), *best)
    seconds = time.process_time() - start
    print(f"dynamic test perplexity {score:.2f} with {best}, {seconds:.0f} CPU s", flush=True)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--samples", type=int, nargs=2, default=[1000, 4000])
    parser.add_argument("--epochs", type=int, default=13)
    parser.add_argument("--first", type=int, default=0, help="epochs that a loaded model has")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save", type=Path)
    parser.add_argument("--load", type=Path)
    parser.add_argument("--validate", action="store_true", help="do not read the test part")
    options = parser.parse_args()
    keras.utils.set_random_seed(options.seed)
    vocabulary, ids = read(options.data)
    print({name: len(part) for name, part in ids.items()}, f"{len(vocabulary)} words", flush=True)
    if options.load:
        model = keras.models.load_model(options.load, compile=False)
    else:
        if not options.validate:
            print_costs(len(vocabulary), sorted({*options.samples} - {0}))
        keras.utils.set_random_seed(options.seed)
        model = build(len(vocabulary), ROWS)
    if options.first or not options.load:
        train(model, ids, options)
        if options.save:
            model.save(options.save)
    if not options.validate:
        judge(model, ids)


if __name__ == "__main__":
    main()
