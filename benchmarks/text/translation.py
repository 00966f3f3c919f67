"""BLEU of a translator with default settings on Multi30k, or on any files of pairs.

    python benchmarks/text/translation.py DATA [--pair en_fr] [--seed 0] [--epochs N] [--save FILE]

DATA is a folder with `multi30k_PAIR.train.tsv.gz`, `.val.tsv.gz` and `.test.tsv.gz`: lower-cased
tokens, a pair a line, with a TAB between source and target. HTML entities are decoded first. The
validation part only decides which epoch is kept. Needs `sacrebleu`, whose signature is printed;
greedy and beam search translate the same test part.
"""

import argparse
import gzip
import html
import time
from pathlib import Path

import sacrebleu

from seqkeras.text import Translator


def read(path):
    with gzip.open(path, "rt", encoding="utf-8") as file:
        lines = html.unescape(file.read()).splitlines()
    return tuple(zip(*(line.split("\t") for line in lines), strict=True))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--pair", default="en_fr")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, help="default: that of Translator")
    parser.add_argument("--save", help="file for the translator")
    parser.add_argument("--attention", default="additive")
    options = parser.parse_args()
    train, validation, test = (
        read(options.data / f"multi30k_{options.pair}.{part}.tsv.gz")
        for part in ("train", "val", "test")
    )
    translator = Translator(attention=options.attention, epochs=options.epochs, seed=options.seed)
    start, cpu_start = time.perf_counter(), time.process_time()
    translator.fit(*train, validation=validation)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu_start
    print(translator)
    print(f"{len(translator.log_.loss)} epochs, {seconds / 60:.1f} min, {cpu / 60:.1f} CPU min")
    print("held-out nats", [round(loss, 3) for loss in translator.log_.val_loss])
    if options.save:
        translator.save(options.save)
    sources, references = test
    bleu = sacrebleu.metrics.BLEU()
    for beam in (1, 5):
        start = time.perf_counter()
        outputs = translator.translate(sources, beam=beam)
        seconds = time.perf_counter() - start
        score = bleu.corpus_score(outputs, [list(references)])
        print(f"beam {beam}: {score}  ({seconds:.1f} s)", flush=True)
    print(bleu.get_signature())
    for source, output, reference in list(zip(sources, outputs, references, strict=True))[:5]:
        print(f"{source}\n  {output}\n  {reference}")


if __name__ == "__main__":
    main()
