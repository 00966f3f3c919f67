"""Seconds to compute 100 outputs, each fed back as the next input, in several ways.

    KERAS_BACKEND=jax python benchmarks/rollout.py [--steps 100] [--batch 64] [--units 64]

The ways, all with the same weights of an LSTM and a Dense layer:

    loop of predict         `model.predict` on the growing sequence, as in most tutorials
    loop of stateful calls  `predict_on_batch` on a stateful twin, one timestep at a time; the twin
                            has our layers, because on JAX stock layers lose their state
    rollout                 one compiled loop

Each runs once with the same shapes before it is measured.
"""

import argparse
import statistics
import time

import keras
import numpy as np

from seqkeras import next_step
from seqkeras.states import reset_state
from seqkeras.stepwise import rollout


def loop_of_predict(model, _, context, steps):
    sequence = context
    for _ in range(steps):
        output = model.predict(sequence, batch_size=len(context), verbose=0)[:, -1:]
        sequence = np.concatenate([sequence, output], axis=1)
    return sequence[:, -steps:]


def loop_of_stateful_calls(_, twin, context, steps):
    reset_state(twin)
    output = twin.predict_on_batch(context)[:, -1:]
    outputs = [output]
    for _ in range(steps - 1):
        output = twin.predict_on_batch(output)
        outputs.append(output)
    return np.concatenate(outputs, axis=1)


def rolled_out(model, _, context, steps):
    return rollout(model, context, steps)


WAYS = {
    "loop of predict": loop_of_predict,
    "loop of stateful calls": loop_of_stateful_calls,
    "rollout": rolled_out,
}


def seconds(way, *arguments):
    start = time.perf_counter()
    outputs = way(*arguments)
    return time.perf_counter() - start, outputs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    sizes = {"steps": 100, "batch": 64, "units": 64, "features": 8, "timesteps": 50, "rounds": 5}
    for name, default in sizes.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()

    keras.utils.set_random_seed(0)
    model = next_step(options.features, units=options.units)
    twin = next_step(options.features, units=options.units, stateful=True, batch_size=options.batch)
    twin.set_weights(model.get_weights())
    shape = (options.batch, options.timesteps, options.features)
    context = np.random.default_rng(0).normal(size=shape).astype("float32")
    arguments = (model, twin, context, options.steps)

    first = {}
    outputs = {}
    for name, way in WAYS.items():
        first[name], outputs[name] = seconds(way, *arguments)
    times = {name: [] for name in WAYS}
    for _ in range(options.rounds):
        for name, way in WAYS.items():  # in turns, so a busy moment affects all alike
            times[name].append(seconds(way, *arguments)[0])

    print(f"Keras {keras.__version__} on {keras.backend.backend()}: {options}")
    print(f"{'':24}{'first':>9}{'then':>10}{'spread':>18}   rollout is (in each round)    differs")
    for name, rounds in times.items():
        ratios = [theirs / ours for theirs, ours in zip(rounds, times["rollout"], strict=True)]
        spread = f"{min(rounds):.4f} .. {max(rounds):.4f}"
        faster = f"{statistics.median(ratios):,.0f} x ({min(ratios):,.0f} .. {max(ratios):,.0f})"
        difference = np.abs(outputs[name] - outputs["rollout"]).max()
        print(
            f"{name:24}{first[name]:8.2f}s{statistics.median(rounds):9.4f}s{spread:>18}   "
            f"{faster:26}{difference:10.1e}"
        )


if __name__ == "__main__":
    main()
