"""Tokens a second of decoding, in several ways, with the same weights.

    KERAS_BACKEND=jax python benchmarks/text/decoding.py [--units 64] [--batch 64] [--length 100]

The language model has an LSTM; the encoder-decoder, GRUs and additive attention. The ways:

    predict, greedy    a stateful twin of the language model, one `predict` for each token, as the
                       seq2seq example of Keras does, and NumPy takes the likeliest
    step, greedy       a stateful twin of the language model, one compiled `predict_on_batch` for
                       each token, and NumPy takes the likeliest
    step, drawn        the same, and NumPy draws from the softmax
    generate, greedy   one compiled loop
    generate, drawn    one compiled loop that draws
    generate, top_p    one compiled loop that draws among the likeliest of 0.9 together
    beam               one compiled loop with `--beams` beams

The ways take turns, so a busy moment of the machine affects all alike; ratios are taken within each
turn. No row stops early: there is no stop id.
"""

import argparse
import statistics
import sys
from pathlib import Path

import keras
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from _turns import in_turns

from seqkeras.decoding import beam, generate
from seqkeras.models import language_model, sequence_to_sequence
from seqkeras.states import reset_state


def likeliest(logits, _):
    return logits.argmax(axis=-1)


def drawn(logits, random):
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    bounds = exponentials.cumsum(axis=-1)
    return (random.random((len(logits), 1)) * bounds[:, -1:] > bounds).sum(axis=-1)


def step_by_step(twin, prompts, length, choose, call=None):
    """Return the tokens of a loop with one compiled call for each."""
    call = call or twin.predict_on_batch
    random = np.random.default_rng(0)
    reset_state(twin)
    logits = call(prompts)[:, -1]
    ids = []
    for _ in range(length):
        ids.append(choose(logits, random).astype("int32"))
        logits = call(ids[-1][:, None])[:, 0]
    return np.stack(ids, axis=1)


def language_ways(args):
    options = {"embedding": args.units, "units": args.units, "cell": "lstm"}
    model = language_model(args.vocabulary, **options)
    twin = language_model(args.vocabulary, **options, stateful=True, batch_size=args.batch)
    twin.set_weights(model.get_weights())
    prompts = np.random.default_rng(0).integers(1, args.vocabulary, (args.batch, 10))
    greedy = step_by_step(twin, prompts, args.length, likeliest)
    np.testing.assert_array_equal(generate(model, prompts, args.length, temperature=0).ids, greedy)

    def predict(ids):
        return twin.predict(ids, batch_size=args.batch, verbose=0)

    return {
        "predict, greedy": lambda: step_by_step(twin, prompts, args.length, likeliest, predict),
        "step, greedy": lambda: step_by_step(twin, prompts, args.length, likeliest),
        "step, drawn": lambda: step_by_step(twin, prompts, args.length, drawn),
        **decoding_ways(args, model, prompts),
    }


def translation_ways(args):
    model = sequence_to_sequence(
        args.vocabulary, args.vocabulary, embedding=args.units, units=args.units, cell="gru"
    )
    sources = np.random.default_rng(0).integers(1, args.vocabulary, (args.batch, 30))
    return decoding_ways(args, model, sources, start=1)


def decoding_ways(args, model, prompts, **options):
    length = args.length
    return {
        "generate, greedy": lambda: generate(model, prompts, length, temperature=0, **options),
        "generate, drawn": lambda: generate(model, prompts, length, seed=0, **options),
        "generate, top_p": lambda: generate(model, prompts, length, top_p=0.9, seed=0, **options),
        "beam": lambda: beam(model, prompts, length, beams=args.beams, **options),
    }


def report(title, ways, args):
    times = in_turns(ways, args.rounds)
    tokens = args.batch * args.length
    print(title)
    for name, values in times.items():
        median = statistics.median(values)
        print(f"  {name:18}{median:10.1f} ms{1000 * tokens / median:12,.0f} tokens/s")
    for slow, fast in (
        ("predict, greedy", "generate, greedy"),
        ("step, greedy", "generate, greedy"),
        ("step, drawn", "generate, drawn"),
        ("beam", "generate, greedy"),
    ):
        if slow in times:
            ratios = sorted(a / b for a, b in zip(times[slow], times[fast], strict=True))
            middle = statistics.median(ratios)
            print(f"  {slow} / {fast}: {middle:.1f} ({ratios[0]:.1f} .. {ratios[-1]:.1f})")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in {
        "units": 64,
        "vocabulary": 100,
        "batch": 64,
        "length": 100,
        "beams": 5,
        "rounds": 5,
    }.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    args = parser.parse_args()
    keras.utils.set_random_seed(0)
    sizes = f"units {args.units}, vocabulary {args.vocabulary}, batch {args.batch}"
    print(f"{keras.backend.backend()}: {sizes}, {args.length} tokens")
    report("language model, LSTM", language_ways(args), args)
    report("encoder-decoder, GRU with additive attention", translation_ways(args), args)


if __name__ == "__main__":
    main()
