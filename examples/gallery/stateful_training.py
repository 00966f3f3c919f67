# %% [markdown]
# # Stateful training
#
# The echo task: repeat the bit from three timesteps ago. It shows what a network
# forgets when its state is cleared between batches.
#
# A long series of random bits is read in batches of five timesteps. If the state passes
# from batch to batch, the network can echo bits from the batch before. If the state is
# cleared, it has never seen them, and must guess.

# %%
import sys

import keras
import matplotlib.pyplot as plt
import numpy as np

from seqkeras import StatefulBatches, many_to_many
from seqkeras.training import fit_stateful

QUICK = "--quick" in sys.argv
COUNT, EPOCHS = (250, 1) if QUICK else (50_000, 4)
ECHO, ROWS, STEPS = 3, 5, 5

bits = np.random.default_rng(0).integers(0, 2, COUNT).astype("float32")
echo = np.roll(bits, ECHO)
cut = COUNT * 4 // 5

# %% [markdown]
# `StatefulBatches` lays one long series into five rows: row `i` of a batch continues
# row `i` of the batch before. If it gets a list of short series, the state of a row is
# cleared wherever a series begins: here the same bits, in pieces of five.


# %%
def batches(part: slice, *, keep: bool) -> StatefulBatches:
    x, y = (
        (bits[part], echo[part]) if keep else (pieces(bits[part]), pieces(echo[part]))
    )
    return StatefulBatches(
        x, targets=y, batch_size=ROWS, bptt_steps=STEPS, horizon=0, reset_input=True
    )


def pieces(values: np.ndarray) -> np.ndarray:
    return values.reshape(-1, STEPS, 1)


def trained(*, keep: bool) -> keras.Model:
    keras.utils.set_random_seed(0)
    model = many_to_many(
        1,
        activation="sigmoid",
        cell="simple_rnn",
        units=16,
        stateful=True,
        reset_input=True,
        batch_size=ROWS,
    )
    model.compile(keras.optimizers.Adam(0.005), "binary_crossentropy")
    fit_stateful(model, batches(slice(cut), keep=keep), EPOCHS, progress=False)
    return model


# %% [markdown]
# The last fifth of the bits was not read in training. How many of them are echoed, at
# each timestep of a batch?


# %%
def right_by_timestep(*, keep: bool) -> np.ndarray:
    test = batches(slice(cut, None), keep=keep)
    guessed = trained(keep=keep).predict(test, verbose=0) > 0.5
    actual = np.concatenate([test[batch][1] for batch in range(len(test))])
    return 100 * (guessed == actual)[..., 0].mean(axis=0)


percent_kept = right_by_timestep(keep=True)
percent_cleared = right_by_timestep(keep=False)
print("timestep of the batch     ", *(f"{number:5}" for number in range(1, STEPS + 1)))
print("percent right, kept state ", *(f"{share:5.1f}" for share in percent_kept))
print("percent right, cleared    ", *(f"{share:5.1f}" for share in percent_cleared))

# %% [markdown]
# With a cleared state, the first three bits of each batch are guesses. With a kept
# state, there is no border.

# %%
figure, axes = plt.subplots(figsize=(8, 3.5), layout="constrained")
place = np.arange(1, STEPS + 1)
axes.bar(place - 0.2, percent_cleared, 0.38, color="#a9d3db", label="state cleared")
axes.bar(place + 0.2, percent_kept, 0.38, color="#0b7285", label="state kept")
axes.axhline(50, color="#d9480f", lw=1, ls="--", label="guessing")
axes.set(xlabel="timestep of the batch", ylabel="bits echoed, percent", ylim=(0, 105))
axes.legend(ncols=3, loc="lower right", bbox_to_anchor=(1, 1), frameon=False)
figure.savefig("stateful_training.png")
