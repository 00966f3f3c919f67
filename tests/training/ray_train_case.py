"""A training by Ray Train, or in this process: `ray_train_case.py WORKERS FILE`."""

import sys

import keras
import numpy as np

from seqkeras import Windows, WindowSpec, many_to_one
from seqkeras.training import fit_distributed, process_count, process_index


def train(settings):
    """Train in each worker, and let the first one write losses and weights."""
    assert process_count() == settings["workers"]
    keras.utils.set_random_seed(process_index())  # the weights of the first one count
    series = np.sin(np.arange(200) * 0.3)
    windows = Windows(series, WindowSpec(8, horizon=1), batch_size=16, shuffle=True, seed=0)
    model = many_to_one(1, outputs=1, units=4)
    model.compile("sgd", "mse")
    history = fit_distributed(model, windows, epochs=2, progress=False)
    if process_index() == 0:
        np.savez(settings["file"], *model.get_weights(), loss=history.history["loss"])


def main(workers, file):
    settings = {"workers": int(workers), "file": file}
    if settings["workers"] == 1:
        return train(settings)
    import ray
    from ray.train import ScalingConfig
    from ray.train.torch import TorchTrainer

    ray.init(num_cpus=settings["workers"], include_dashboard=False)
    scaling = ScalingConfig(num_workers=settings["workers"])
    return TorchTrainer(train, train_loop_config=settings, scaling_config=scaling).fit()


if __name__ == "__main__":
    main(*sys.argv[1:])
