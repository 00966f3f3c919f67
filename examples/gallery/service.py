# %% [markdown]
# # A service
#
# Serve a trained model with one state for each sensor. The service is killed in the
# middle, starts again, and goes on where it was.

# %%
import subprocess
import sys

import keras
import matplotlib.pyplot as plt
import numpy as np

from seqkeras import GroupedArray, Windows, WindowSpec, next_step
from seqkeras.export import save_program
from seqkeras.serve import Client

QUICK = "--quick" in sys.argv
ROWS, EPOCHS, STEPS = (200, 1, 10) if QUICK else (4_000, 15, 120)

# %% [markdown]
# Each of three pumps has its own pulse. One model predicts the next pressure of any of
# them. The last rows are not for training: the pumps will send them.

# %%
random = np.random.default_rng(0)
step = np.arange(ROWS)
pumps = {
    name: (np.sin(step / pace) + random.normal(0, 0.05, ROWS)).astype("float32")
    for name, pace in [("pump-7", 3), ("pump-8", 5), ("pump-9", 8)]
}
past = GroupedArray.from_series([values[:-STEPS] for values in pumps.values()])
spec = WindowSpec(96, stride=6)
windows = Windows(past, spec, target_rows="next", shuffle=True, seed=0)
keras.utils.set_random_seed(0)
model = next_step(1, units=32)
rate = keras.optimizers.schedules.CosineDecay(0.01, EPOCHS * len(windows))
model.compile(keras.optimizers.Adam(rate), "mse")
model.fit(windows, epochs=EPOCHS, verbose=0)
save_program(model, "pump.program")

# %% [markdown]
# The service runs the program without Keras, and keeps the state of each session in a
# SQLite file. On the command line this is `seqkeras serve pump.program --store
# sqlite:///pumps.db`.

# %%
command = [sys.executable, "-m", "seqkeras", "serve", "pump.program", "--port", "0"]
command += ["--store", "sqlite:///pumps.db"]


def start() -> tuple[subprocess.Popen, Client]:
    service = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    return service, Client(service.stdout.readline().split()[-1])


service, client = start()

# %% [markdown]
# Each pump sends a pressure, and gets back a prediction of its next one. Half-way, the
# service is killed with no chance to save anything. A step that was answered is stored,
# so nothing is lost.

# %%
predictions = {name: [] for name in pumps}
for number in range(STEPS):
    if number == STEPS // 2:
        service.kill()
        service.wait()
        client.close()
        service, client = start()
    outputs = client.step_many(
        {name: [values[number - STEPS]] for name, values in pumps.items()}
    )
    for name, output in outputs.items():
        predictions[name].append(float(output[0]))

stored = client.session("pump-7").export_state()
print(f"the service has counted {stored.step} steps of pump-7, of {STEPS} sent")
client.close()
service.terminate()
service.wait()

# %% [markdown]
# The picture shows pressures as dots, and as a line what the service had predicted for
# them. At the dashed line it was killed: the predictions go on as if nothing had
# happened, since the states are back.

# %%
figure, panels = plt.subplots(3, 1, figsize=(9, 5), sharex=True, layout="constrained")
for axes, (name, values) in zip(panels, pumps.items(), strict=True):
    axes.plot(values[1 - STEPS :], ".", color="#d9480f", label="pressure")
    axes.plot(predictions[name], color="#0b7285", label="predicted")
    axes.axvline(STEPS // 2 - 0.5, color="#4a5568", ls="--", lw=1)
    axes.set_ylabel(name)
panels[0].legend(ncols=2, loc="lower right", bbox_to_anchor=(1, 1), frameon=False)
panels[-1].set_xlabel("step")
figure.savefig("service.png")
