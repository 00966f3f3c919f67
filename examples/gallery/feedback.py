# %% [markdown]
# # One to many, and feedback
#
# Two ways to write a sequence: unfold it from one vector, or predict one timestep, feed
# it back as the next input, and go on.

# %%
import sys

import keras
import matplotlib.pyplot as plt
import numpy as np

from seqkeras import Windows, WindowSpec, next_step, one_to_many
from seqkeras.stepwise import rollout

QUICK = "--quick" in sys.argv
random = np.random.default_rng(0)

# %% [markdown]
# ## A curve from its parameters
#
# `one_to_many` unfolds a vector into a sequence: here a damped vibration of 60
# timesteps, from its frequency and its damping.

# %%
COUNT, EPOCHS = (64, 1) if QUICK else (2_000, 40)
timestep = np.arange(60)


def vibrations(parameters: np.ndarray) -> np.ndarray:
    frequency, damping = parameters[:, :1], parameters[:, 1:]
    return np.cos(frequency * timestep) * np.exp(-damping * timestep)


parameters = random.uniform([0.1, 0.01], [0.4, 0.05], size=(COUNT, 2))
keras.utils.set_random_seed(0)
model = one_to_many(2, steps=60, units=48, cell="gru")
rate = keras.optimizers.schedules.CosineDecay(0.01, EPOCHS * -(-COUNT // 64))
model.compile(keras.optimizers.Adam(rate, clipnorm=1.0), "mse")
scaled = keras.layers.Normalization()
scaled.adapt(parameters)
model.fit(
    scaled(parameters),
    vibrations(parameters)[..., np.newaxis],
    batch_size=64,
    epochs=EPOCHS,
    verbose=0,
)

unseen = np.array([[0.15, 0.02], [0.25, 0.035], [0.35, 0.015]])
curves = model.predict(scaled(unseen), verbose=0)[..., 0]
error = np.mean((curves - vibrations(unseen)) ** 2)
print(f"unseen vibrations: mean squared error {error:.5f}, variance {curves.var():.3f}")

# %% [markdown]
# ## A series that continues itself
#
# `next_step` is trained one step ahead: with `target_rows="next"`, the targets of a
# window are its inputs, moved on by one row. A sum of two waves never repeats itself
# exactly.

# %%
ROWS, EPOCHS = (200, 1) if QUICK else (3_000, 30)
step = np.arange(ROWS + 150)
wave = (np.sin(step / 2) + 0.6 * np.sin(step / 5.2)).astype("float32")
past, future = wave[:ROWS], wave[ROWS:]

windows = Windows(
    past, WindowSpec(60, stride=4), target_rows="next", shuffle=True, seed=0
)
keras.utils.set_random_seed(0)
model = next_step(1, units=48)
rate = keras.optimizers.schedules.CosineDecay(0.01, EPOCHS * len(windows))
model.compile(keras.optimizers.Adam(rate, clipnorm=1.0), "mse")
model.fit(windows, epochs=EPOCHS, verbose=0)

# %% [markdown]
# `rollout` reads the known part, and then feeds each output back, in one compiled loop.

# %%
forecast = rollout(model, past[np.newaxis, -100:, np.newaxis], len(future))[0, :, 0]
error = np.mean((forecast - future) ** 2)
print(f"150 steps: mean squared error {error:.5f}, variance {future.var():.3f}")

# %% [markdown]
# Above, unfolded curves over the true ones; below, the series and how the network
# continues it.

# %%
figure, (above, below) = plt.subplots(2, 1, figsize=(9, 6), layout="constrained")
for curve, actual in zip(curves, vibrations(unseen), strict=True):
    above.plot(actual, color="#d9480f", lw=4, alpha=0.35)
    above.plot(curve, color="#0b7285")
above.set_title("One to many: vibrations from two numbers", loc="left")
below.plot(np.arange(-100, 0), past[-100:], color="#4a5568", label="known")
below.plot(future, color="#d9480f", lw=4, alpha=0.35, label="actual")
below.plot(forecast, color="#0b7285", label="network")
below.set_title("Feedback: 150 steps, each from the one before", loc="left")
below.set_xlabel("timestep")
below.legend(ncols=3, loc="lower right", bbox_to_anchor=(1, 1), frameon=False)
figure.savefig("feedback.png")
