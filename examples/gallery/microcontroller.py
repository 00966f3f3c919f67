# %% [markdown]
# # From Keras to a microcontroller
#
# Train a small network in Keras, and run it in a dozen lines of arithmetic on weights
# of one byte each, as a microcontroller without an operating system would.
#
# The task: tell from a motion sensor whether someone stands, walks or runs.

# %%
import sys

import keras
import matplotlib.pyplot as plt
import numpy as np

from seqkeras import Windows, WindowSpec, many_to_many, runtime
from seqkeras.export import save_program

QUICK = "--quick" in sys.argv
PARTS, EPOCHS = (6, 1) if QUICK else (60, 12)
KINDS = ["stands", "walks", "runs"]


# %% [markdown]
# A recording of parts in which someone stands, walks or runs: acceleration in three
# directions, 25 times a second.


# %%
def recording(parts: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    labels = np.repeat(random.integers(0, 3, parts), 100)
    pace = np.array([0, 1.8, 2.8])[labels] * random.normal(1, 0.1, len(labels))
    strength = np.array([0, 0.5, 1.2])[labels]
    phase = 2 * np.pi * np.cumsum(pace) / 25
    waves = np.stack([np.sin(phase), np.cos(phase / 2), np.sin(2 * phase)], axis=1)
    motion = strength[:, np.newaxis] * waves + random.normal(0, 0.15, (len(labels), 3))
    return motion.astype("float32"), labels


motion, labels = recording(PARTS, seed=0)
keras.utils.set_random_seed(0)
model = many_to_many(3, outputs=3, activation="softmax", units=12, cell="gru")
model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy")
windows = Windows(
    motion, WindowSpec(75, stride=5), targets=labels, target_rows="lookback", seed=0
)
model.fit(windows, epochs=EPOCHS, verbose=0)

# %% [markdown]
# A program is the first step out of Keras: one file, NumPy only, checked against the
# model.

# %%
save_program(model, "motion.program")
program = runtime.load("motion.program")

# %% [markdown]
# The last step is to write the arithmetic by hand. A GRU has two matrices and biases;
# with one byte for each number, its weights fit into less than a kilobyte. The state,
# 12 numbers, is all that is kept from one reading of the sensor to the next.

# %%
weights = [weight.numpy() for weight in model.weights]
scales = [np.abs(weight).max() / 127 for weight in weights]
stored = [
    np.round(weight / scale).astype("int8")
    for weight, scale in zip(weights, scales, strict=True)
]
kernel, recurrent, bias, head, head_bias = (
    scale * weight.astype("float32")
    for weight, scale in zip(stored, scales, strict=True)
)
print(f"{sum(weight.nbytes for weight in stored)} bytes of weights")


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def step(reading: np.ndarray, h: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    from_input = reading @ kernel + bias[0]
    from_state = h @ recurrent + bias[1]
    z, r = np.split(sigmoid(from_input[:24] + from_state[:24]), 2)
    candidate = np.tanh(from_input[24:] + r * from_state[24:])
    h = z * h + (1 - z) * candidate
    return h @ head + head_bias, h  # the largest output wins; no softmax needed


# %% [markdown]
# On a new recording, both read one value at a time.

# %%
motion, labels = recording(6 if QUICK else 40, seed=1)
state, h = program.initial_state(), np.zeros(12, "float32")
from_program, by_hand = [], []
for reading in motion:
    output, state = program.step(reading[np.newaxis], state)
    from_program.append(output.argmax())
    logits, h = step(reading, h)
    by_hand.append(logits.argmax())

for name, kinds in {"program": from_program, "by hand, 8 bits": by_hand}.items():
    print(f"{name:16} right {np.mean(kinds == labels):.1%}")
print(f"they agree at {np.mean(np.equal(from_program, by_hand)):.2%} of the readings")

# %% [markdown]
# The first minute of the sensor, and the output of the hand-written step. It is right
# except just after a change, where it has to wait for the next movement.

# %%
figure, (above, below) = plt.subplots(
    2, 1, figsize=(9, 4.5), sharex=True, height_ratios=[2, 1], layout="constrained"
)
seconds = np.arange(len(labels)) / 25
minute = slice(60 * 25)
above.plot(seconds[minute], motion[minute], lw=0.6)
above.set(ylabel="acceleration", title="Motion sensor, three directions")
below.plot(
    seconds[minute], labels[minute], color="#d9480f", lw=5, alpha=0.35, label="actual"
)
below.plot(
    seconds[minute], by_hand[minute], color="#0b7285", lw=1, label="network, 8 bits"
)
below.set_yticks(range(3), KINDS)
below.set_xlabel("seconds")
below.legend(ncols=2, loc="lower right", bbox_to_anchor=(1, 1), frameon=False)
figure.savefig("microcontroller.png")
