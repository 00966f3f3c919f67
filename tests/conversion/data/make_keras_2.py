"""Write keras_2.json.gz next to this file, with Keras 2, in a separate environment.

    pip install tensorflow-cpu==2.12.1
    python make_keras_2.py

Its configs have no "module", as those of all versions before 2.13. Weights and inputs are those
of `helpers/keras_2_numbers.py`, which the tests have as well, so the file holds their shapes only.
"""

import gzip
import json
import sys
from pathlib import Path

import numpy as np
import tensorflow as tf

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from helpers.keras_2_numbers import random_inputs, random_weights

K = tf.keras
L = tf.keras.layers
MODELS = {}


def model(build):
    MODELS[build.__name__] = build
    return build


def words(name, steps=5, **options):
    """Return an input of words, and their embedding, with a mask."""
    x = K.Input((steps,), dtype="int32", name=name)
    return x, L.Embedding(9, 3, mask_zero=True, **options)(x)


def numbers(name, steps=5, features=3):
    return K.Input((steps, features), name=name)


def sequential(layer, shape=(5, 3)):
    return lambda: K.Sequential([L.InputLayer(shape), layer()])


WRAPPED = {
    "bidirectional": lambda: L.Bidirectional(L.LSTM(2)),
    "two layers of a bidirectional": lambda: L.Bidirectional(
        L.GRU(2), backward_layer=L.GRU(2, go_backwards=True, activation="relu")
    ),
    "cell": lambda: L.RNN(L.GRUCell(2)),
    "cells": lambda: L.RNN([L.LSTMCell(2), L.GRUCell(3)]),
    "dense at each timestep": lambda: L.TimeDistributed(L.Dense(2, activation="hard_sigmoid")),
    "normalization at each timestep": lambda: L.TimeDistributed(L.BatchNormalization()),
    "activation is a layer": lambda: L.Dense(2, activation=L.LeakyReLU(0.2)),
}
ARGUMENTS = {
    "spatial dropout": lambda: L.SpatialDropout1D(0.2),
    "separable convolution": lambda: L.SeparableConv1D(2, 2),
    "transposed convolution": lambda: L.Conv1DTranspose(2, 2),
    "depthwise convolution": lambda: L.DepthwiseConv1D(2),
    "leaky relu": lambda: L.LeakyReLU(0.2),
    "thresholded relu": lambda: L.ThresholdedReLU(0.4),
    "batch normalization": lambda: L.BatchNormalization(),
    "regularizers": lambda: L.LSTM(2, kernel_regularizer="l2", bias_constraint="max_norm"),
}
for name, layer in {**WRAPPED, **ARGUMENTS}.items():
    MODELS[name] = sequential(layer)
MODELS["conv lstm 1d"] = sequential(lambda: L.ConvLSTM1D(2, 2), (3, 4, 1))
MODELS["conv lstm 2d"] = sequential(lambda: L.ConvLSTM2D(2, 2), (3, 4, 4, 1))
MODELS["conv lstm 3d"] = sequential(lambda: L.ConvLSTM3D(2, 2), (2, 3, 3, 3, 1))
MODELS["conv lstm both ways"] = sequential(
    lambda: L.Bidirectional(L.ConvLSTM2D(2, 2)), (3, 4, 4, 1)
)


def merged(kind, masked, nested=False):
    def build():
        a, x = words("a")
        b, y = words("b") if masked else (numbers("b"),) * 2
        if nested:
            inner = [K.Input((5, 3)), K.Input((5, 3))]
            z = K.Model(inner, kind()(inner))([x, y])
        else:
            z = kind()([x, y])
        return K.Model([a, b], [L.GRU(2)(z), z])

    return build


for kind in (L.Add, L.Subtract, L.Multiply, L.Average, L.Maximum, L.Minimum, L.Concatenate):
    MODELS[f"{kind.__name__} of two masks"] = merged(kind, masked=True)
    MODELS[f"{kind.__name__} of one mask"] = merged(kind, masked=False)
MODELS["Multiply in a model"] = merged(L.Multiply, masked=True, nested=True)


@model
def residual():
    a, x = words("a")
    return K.Model(a, L.LSTM(2)(L.Add()([x, L.Conv1D(3, 3, padding="same")(x)])))


@model
def masks_along_time():
    a, x = words("a")
    b, y = words("b", 4)
    return K.Model([a, b], L.GRU(2)(L.Concatenate(axis=1)([x, y])))


@model
def seq2seq():
    e, d = numbers("e", 4), numbers("d")
    _, h, c = L.LSTM(2, return_state=True)(e)
    y, _, _ = L.LSTM(2, return_sequences=True, return_state=True)(d, initial_state=[h, c])
    return K.Model([e, d], L.Dense(2)(y))


@model
def seq2seq_in_a_list():
    e, d = numbers("e", 4), numbers("d")
    _, h = L.GRU(2, return_state=True)(e)
    return K.Model([e, d], L.GRU(2)([d, h]))


@model
def seq2seq_both_ways():
    e, d = numbers("e", 4), numbers("d")
    _, *states = L.Bidirectional(L.LSTM(2, return_state=True))(e)
    return K.Model([e, d], L.Bidirectional(L.LSTM(2))(d, initial_state=states))


@model
def seq2seq_images():
    e, d = K.Input((2, 3, 3, 1), name="e"), K.Input((3, 3, 3, 1), name="d")
    _, h, c = L.ConvLSTM2D(2, 2, padding="same", return_state=True)(e)
    return K.Model([e, d], L.ConvLSTM2D(2, 2, padding="same")(d, initial_state=[h, c]))


@model
def masked_seq2seq():
    e, x = words("e", 4)
    d, y = words("d")
    _, h, c = L.LSTM(2, return_state=True)(x)
    return K.Model([e, d], L.LSTM(2)(y, initial_state=[h, c]))


@model
def masked_seq2seq_both_ways():
    e, x = words("e", 4)
    d, y = words("d")
    _, *states = L.Bidirectional(L.GRU(2, return_state=True))(x)
    return K.Model([e, d], L.Bidirectional(L.GRU(2))(y, initial_state=states))


@model
def mask_as_an_argument():
    x, mask = numbers("x"), K.Input((5,), dtype="bool", name="mask")
    return K.Model([x, mask], [L.LSTM(2)(x, mask=mask), L.GlobalAveragePooling1D()(x, mask=mask)])


@model
def attention():
    x, mask = numbers("x"), K.Input((5,), dtype="bool", name="mask")
    y = L.Attention()([x, x], mask=[mask, mask])
    return K.Model([x, mask], [y, L.MultiHeadAttention(2, 2)(x, value=y, key=y)])


@model
def siamese():
    x = K.Input((5, 3))
    tower = K.Model(x, L.LSTM(2)(x))
    a, b = numbers("a"), numbers("b")
    return K.Model([a, b], L.Subtract()([tower(b), tower(a)]))


@model
def sequential_siamese():
    tower = K.Sequential([L.LSTM(2, input_shape=(5, 3)), L.Dense(2)])
    a, b = numbers("a"), numbers("b")
    return K.Model([a, b], L.Subtract()([tower(b), tower(a)]))


@model
def autoencoder():
    x, code = numbers("x"), K.Input((2,))
    encoder = K.Model(x, L.LSTM(2)(x))
    decoder = K.Model(code, L.LSTM(3, return_sequences=True)(L.RepeatVector(5)(code)))
    return K.Model(x, decoder(encoder(x)))


@model
def functional_in_sequential():
    x = numbers("x")
    return K.Sequential([K.Model([x], [L.LSTM(3, return_sequences=True)(x)]), L.LSTM(2)])


@model
def sequential_in_sequential():
    inner = [L.LSTM(3, return_sequences=True, input_shape=(5, 3)), L.Dense(3)]
    return K.Sequential([K.Sequential(inner), L.LSTM(2)])


@model
def model_with_two_outputs():
    inner = K.Input((5, 3))
    both = K.Model(inner, [L.LSTM(3)(inner), L.GRU(2)(inner)])
    x = numbers("x")
    first, second = both(x)
    return K.Model(x, [L.Dense(2)(second), first])


@model
def model_at_each_timestep():
    x = K.Input((4, 3))
    return K.Sequential([L.TimeDistributed(K.Model(x, L.LSTM(2)(x)), input_shape=(5, 4, 3))])


@model
def frozen_part():
    x, inner = numbers("x"), K.Input((5, 3))
    frozen = L.Dense(3, trainable=False)
    part = K.Model(inner, L.BatchNormalization()(L.LSTM(3)(L.Dense(3)(frozen(inner)))))
    return K.Model(x, L.Dense(2)(part(x)))


@model
def layer_called_twice():
    layer, x = L.Dense(3), numbers("x")
    return K.Model(x, L.Concatenate()([layer(layer(x)), layer(x)]))


@model
def last_timestep():
    x = numbers("x")
    y = L.LSTM(2, return_sequences=True)(x)
    return K.Model(x, L.Dense(2)(y[:, -1]))


@model
def tensorflow_functions():
    x = numbers("x")
    y = tf.reduce_mean(tf.nn.relu(x), axis=1) * 2.0 + 1.0
    z = tf.concat([y, 1.0 - tf.sigmoid(y)], axis=-1) / (3.0 + tf.square(x[:, 0, :1]))
    return K.Model(x, tf.matmul(x, tf.expand_dims(z[..., :3], -1)))


@model
def two_precisions():
    x = numbers("x")
    y = L.LSTM(2, dtype=K.mixed_precision.Policy("mixed_float16"))(x)
    return K.Model(x, L.Dense(2, dtype="float32")(y))


def main():
    cases = {}
    for name, build in MODELS.items():
        K.backend.clear_session()
        built = build()
        inputs = [((3, *x.shape[1:]), x.dtype.name) for x in built.inputs]
        x = random_inputs(inputs)
        weights = {}
        for number, layer in enumerate(built.layers):
            stored = layer.trainable_weights + layer.non_trainable_weights
            values = random_weights([w.shape for w in stored], number)
            K.backend.batch_set_value(list(zip(stored, values, strict=True)))
            weights[layer.name] = {w.name: list(w.shape) for w in stored}
        y = built(x if len(x) > 1 else x[0])
        outputs = [np.float64(out).round(7) for out in tf.nest.flatten(y)]
        assert all(np.std(out) > 0 for out in outputs), name
        cases[name] = {
            "config": json.loads(built.to_json()),
            "weights": weights,
            "inputs": inputs,
            "outputs": [out.tolist() for out in outputs],
        }
    with open("keras_2.json.gz", "wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=0) as file:
        file.write(json.dumps(cases).encode())


if __name__ == "__main__":
    main()
