# %% [markdown]
# # One network, three forms
#
# Train a network on whole windows. Then run the same weights over batches that continue
# each other, or one value at a time without Keras. The numbers agree.

# %%
import sys
import time

import keras
import matplotlib.pyplot as plt
import numpy as np

from seqkeras import Windows, WindowSpec, many_to_many, runtime
from seqkeras.export import save_program
from seqkeras.states import as_stateful, reset_state

QUICK = "--quick" in sys.argv
ROWS, EPOCHS = (400, 1) if QUICK else (10_000, 5)

# %% [markdown]
# A sensor shows a slow wave under much noise. The network learns to see the wave: its
# targets are the values without the noise.

# %%
random = np.random.default_rng(0)
step = np.arange(ROWS)
wave = (np.sin(step / 12) + 0.5 * np.sin(step / 31)).astype("float32")
sensor = wave + random.normal(0, 0.7, ROWS).astype("float32")

half = ROWS // 2
spec = WindowSpec(lookback=64, stride=4)
train = Windows(
    sensor[:half],
    spec,
    targets=wave[:half],
    target_rows="lookback",
    shuffle=True,
    seed=0,
)
keras.utils.set_random_seed(0)
model = many_to_many(1, units=32, cell="gru")
model.compile(keras.optimizers.Adam(0.005), "mse")
model.fit(train, epochs=EPOCHS, verbose=0)

# %% [markdown]
# **Stateless**: the model reads a whole sequence, from an empty state.

# %%
sequence = sensor[np.newaxis, -300:, np.newaxis]
whole = model.predict(sequence, verbose=0)[0, :, 0]

# %% [markdown]
# **Stateful**: a copy with the same weights reads pieces of 50 timesteps. Its state
# passes from piece to piece.

# %%
stateful = as_stateful(model, batch_size=1)
pieces = [stateful.predict_on_batch(piece) for piece in np.split(sequence, 6, axis=1)]
in_pieces = np.concatenate(pieces, axis=1)[0, :, 0]

# %% [markdown]
# **Step by step**: a program reads one value, and needs only NumPy. The caller holds
# the state.

# %%
save_program(model, "denoise.program")
program = runtime.load("denoise.program")

state = program.initial_state()
by_step = []
for value in sequence[0]:
    output, state = program.step(value[np.newaxis], state)
    by_step.append(output.item())

print(f"in pieces: differs by at most {np.abs(in_pieces - whole).max():.0e}")
print(f"by step:   differs by at most {np.abs(by_step - whole).max():.0e}")

# %% [markdown]
# What does one step cost? A service that keeps a window and calls `predict` pays most.


# %%
def microseconds(call, times: int) -> float:
    call()
    start = time.perf_counter()
    for _ in range(times):
        call()
    return (time.perf_counter() - start) / times * 1e6


reset_state(stateful)
newest = sequence[:, -64:]
value = newest[:, -1:]
times = 2 if QUICK else 20
costs = {
    "predict of a window": microseconds(
        lambda: model.predict(newest, verbose=0), times
    ),
    "stateful model": microseconds(lambda: stateful.predict_on_batch(value), times),
    "program": microseconds(lambda: program.step(value[0], state), 50 * times),
}
for name, cost in costs.items():
    print(f"{name:20} {cost:10,.0f} microseconds")

# %% [markdown]
# The sensor, the wave beneath it, and what the three forms make of the sensor: one
# line, since they agree.

# %%
figure, axes = plt.subplots(figsize=(9, 4), layout="constrained")
axes.plot(sensor[-300:], ".", color="#cbd5e0", label="sensor")
axes.plot(wave[-300:], color="#d9480f", lw=1.5, label="wave")
axes.plot(whole, color="#a9d3db", lw=6, label="stateless")
axes.plot(in_pieces, color="#0b7285", lw=2.5, label="stateful")
axes.plot(by_step, "k--", lw=0.8, label="step by step")
axes.set(xlabel="timestep")
axes.legend(ncols=5, loc="lower right", bbox_to_anchor=(1, 1), frameon=False)
figure.savefig("three_forms.png")
