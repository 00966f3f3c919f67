"""Write keras_zip.keras and keras_zip.json, its outputs, with Keras 2.15, in another environment.

pip install tensorflow tf_keras==2.21.0
python make_keras_zip.py
"""

import json
import zipfile

import numpy as np
import tf_keras

L = tf_keras.layers


def build():
    x = tf_keras.Input((3, 2))
    tower = tf_keras.Model(x, L.Bidirectional(L.GRU(2))(x))
    words, numbers = tf_keras.Input((3,), dtype="int32"), tf_keras.Input((3, 2))
    last = L.LSTM(4)(L.Embedding(5, 2, mask_zero=True)(words), initial_state=[tower(numbers)] * 2)
    return tf_keras.Model([words, numbers], L.Subtract()([last, tower(numbers)]))


def compress(path):
    """Compress the parts of the file, which Keras only stores."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, part in parts.items():
            archive.writestr(name, part)


def main():
    model = build()
    random = np.random.default_rng(0)
    values = [random.normal(0, 0.5, weight.shape) for weight in model.get_weights()]
    model.set_weights(values)
    inputs = [np.array([[1, 2, 3], [4, 1, 0]]), random.normal(size=(2, 3, 2))]
    model.save("keras_zip.keras")
    compress("keras_zip.keras")
    golden = {"x": [x.tolist() for x in inputs], "y": model.predict(inputs).tolist()}
    with open("keras_zip.json", "w") as file:
        json.dump(golden, file)


main()
