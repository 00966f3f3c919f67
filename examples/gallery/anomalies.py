# %% [markdown]
# # Autoencoders and anomaly detection
#
# An autoencoder learns to write down usual sequences in a few numbers. What it cannot
# write down is unusual. Here a detector finds four faults in the pulse of a pump.

# %%
import sys

import numpy as np
import pandas as pd

from seqkeras.anomaly import (
    AutoencoderDetector,
    Conformal,
    SequenceEncoder,
    plot_embedding,
)
from seqkeras.forecasting import Columns, Training
from seqkeras.scoring import anomaly_report

QUICK = "--quick" in sys.argv
ROWS, EPOCHS, RATE = (600, 1, 0.1) if QUICK else (6_000, 25, 0.001)

# %% [markdown]
# A pressure every minute, with pulses that vary in length. The second half has four
# faults: a peak, a missing pulse, a stuck sensor, and a slow valve that makes pulses
# flat.

# %%
random = np.random.default_rng(0)
phase = np.cumsum(2 * np.pi / 40 * random.normal(1, 0.1, ROWS))
pressure = 10 + np.exp(2 * np.sin(phase)) / 3 + random.normal(0, 0.05, ROWS)

half, unit = ROWS // 2, ROWS // 60
faults = {
    "peak": slice(half + 6 * unit, half + 6 * unit + 2),
    "missing pulse": slice(half + 13 * unit, half + 13 * unit + 40),
    "stuck": slice(half + 19 * unit, half + 19 * unit + 60),
    "flat pulses": slice(half + 25 * unit, half + 25 * unit + 80),
}
pressure[faults["peak"]] += 2
pressure[faults["missing pulse"]] = 10 + random.normal(0, 0.05, 40)
pressure[faults["stuck"]] = pressure[faults["stuck"]][0]
pressure[faults["flat pulses"]] = 10 + 0.4 * (pressure[faults["flat pulses"]] - 10)

df = pd.DataFrame({"time": pd.date_range("2026-03-01", periods=ROWS, freq="min")})
df["pressure"] = pressure

# %% [markdown]
# The detector is fitted on the first half, which is clean. It rebuilds each window from
# a code of eight numbers, and the error of a row becomes its score. The threshold is
# the score that one in a thousand rows of the clean half exceeds. Neighboring flagged
# rows form one alarm.

# %%
training = Training(epochs=EPOCHS, progress=False)
threshold = Conformal(RATE, adapt=0)
detector = AutoencoderDetector(
    40, clean=True, threshold=threshold, training=training, seed=0
)
detector.fit(df[:half], columns=Columns(time="time"))
alarms = pd.DataFrame(detector.intervals(df[half:], merge=20))
alarms["time"] = df.time.iloc[half + alarms.start].dt.strftime("%d %b %H:%M").to_numpy()
print(alarms[["time", "start", "stop", "severity"]].round(1).to_string(index=False))

# %% [markdown]
# The pressure over its reconstruction, and below it the score with its threshold. All
# four faults are flagged. The stuck sensor has the lowest score, since standing still
# between two pulses is usual.

# %%
figure = detector.plot(df[half:], title="The second half: four faults")
figure.savefig("anomalies.png")
figure

# %% [markdown]
# Is a network worth it here? The report puts its scores next to those of methods that
# need no training. On a series as regular as this one, windows compared by their
# nearest neighbors do as well: take the simpler method where it is as good.

# %%
labels = np.zeros(ROWS, bool)
for fault in faults.values():
    labels[fault] = True
report = anomaly_report(
    labels[half:],
    detector.decision_function(df[half:]),
    window=40,
    values=pressure[half:],
)
print(report)

# %% [markdown]
# ## Sequences as vectors
#
# The code by itself describes a sequence. `SequenceEncoder` turns strokes of a machine
# into four numbers each. It has never been told which strokes belong together, but
# their codes lie apart.

# %%
COUNT, EPOCHS = (10, 1) if QUICK else (100, 30)
timestep = np.arange(48)


def strokes(delay: float) -> np.ndarray:
    shift = random.normal(delay, 0.1, size=(COUNT, 1))
    height = random.normal(1, 0.05, size=(COUNT, 1))
    noise = random.normal(0, 0.03, size=(COUNT, 48))
    return height * np.sin(np.pi * timestep / 48 - shift) ** 2 + noise


kinds = {
    "good": strokes(0),
    "late": strokes(0.5),
    "leaking valve": strokes(0) * np.where(timestep < 24, 1, 0.6),
}
training = Training(epochs=EPOCHS, progress=False)
encoder = SequenceEncoder(4, units=32, training=training, seed=0)
codes = encoder.fit_transform(np.concatenate(list(kinds.values())))
figure = plot_embedding(
    codes, np.repeat(list(kinds), COUNT), title="Three kinds of strokes, as codes"
)
figure.savefig("codes.png")
figure
