"""Write the files next to this one, with Keras 2, in a separate environment.

    pip install tensorflow-cpu==2.15.1
    python make_legacy.py

cuDNN layers can be made and saved on any machine, but run on a GPU only. So their outputs are
those of a twin made of plain layers, into which Keras 2 loaded the same file.
"""

import json

import numpy as np
import tensorflow as tf
from keras.src.saving.legacy.hdf5_format import preprocess_weights_for_loading

layers, old = tf.keras.layers, tf.compat.v1.keras.layers


def plain_gru(units, **options):
    return layers.GRU(units, reset_after=True, **options)


CUDNN = (old.CuDNNLSTM, old.CuDNNGRU)
PLAIN = (layers.LSTM, plain_gru)


def functional(lstm, gru):
    x = tf.keras.Input((5, 3), name="x")
    y = layers.Bidirectional(lstm(2, return_sequences=True), name="both")(x)
    y = gru(3, return_sequences=True, go_backwards=True, name="back")(y)
    last, h, c = lstm(2, return_state=True, name="last")(y)
    y = layers.Concatenate(name="join")([last, h, c])
    return tf.keras.Model(x, layers.Dense(2, name="out")(y))


def sequential(lstm, gru):
    inner = tf.keras.Sequential(
        [
            layers.Dense(4, activation="relu", trainable=False),
            gru(2, return_sequences=True),
            lstm(3),
        ],
        name="inner",
    )
    return tf.keras.Sequential(
        [
            layers.Input((4, 5, 3)),
            layers.TimeDistributed(inner, name="each"),
            layers.Bidirectional(gru(2), merge_mode="sum", name="both"),
        ]
    )


def old_arguments(_lstm, _gru):
    return tf.keras.Sequential(
        [
            layers.Input((5, 3)),
            layers.Masking(),
            layers.Bidirectional(old.LSTM(2, return_sequences=True, implementation=1)),
            old.GRU(3, return_sequences=True, reset_after=False),
            layers.GRU(2, return_sequences=True, recurrent_activation="hard_sigmoid"),
            layers.SimpleRNN(2, activation="hard_sigmoid"),
            layers.Dense(2, activation="hard_sigmoid"),
        ]
    )


def randomize(model, seed):
    random = np.random.default_rng(seed)
    values = [random.normal(0, 0.4, one.shape).astype("float32") for one in model.get_weights()]
    model.set_weights(values)


def main():
    outputs = {}
    for seed, build in enumerate((functional, sequential, old_arguments)):
        name = build.__name__
        model, twin = build(*CUDNN), build(*PLAIN)
        randomize(model, seed)
        if build is functional:
            model.compile("adam", "mse")
            model.save_weights("functional_weights.h5")
        model.save(f"{name}.h5")
        twin.load_weights(f"{name}.h5")
        x = np.random.default_rng(9).normal(size=(2, *model.input_shape[1:])).astype("float32")
        outputs[name] = {"x": x.tolist(), "y": twin.predict(x, verbose=0).tolist()}
    weights = []
    for seed, (make, plain) in enumerate(zip(CUDNN, PLAIN, strict=True)):
        for wrap in (lambda one: one, layers.Bidirectional):
            source, target = wrap(make(2)), wrap(plain(2))
            for layer in (source, target):
                layer.build((None, 5, 3))
            randomize(source, seed)
            values = source.get_weights()
            there = preprocess_weights_for_loading(target, values, "2", "tensorflow")
            back = preprocess_weights_for_loading(source, there, "2", "tensorflow")
            numbers = {"cudnn": values, "keras": there, "back": back}
            weights.append({key: [one.tolist() for one in part] for key, part in numbers.items()})
    with open("legacy.json", "w") as file:
        json.dump({"models": outputs, "weights": weights}, file)


main()
