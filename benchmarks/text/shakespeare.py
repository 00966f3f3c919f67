"""Characters of the small Shakespeare text: `LanguageModel` with its defaults, on one thread.

    python benchmarks/text/shakespeare.py DATA [--seeds 0 1 2]

DATA is the folder with `tinyshakespeare.txt.gz` (1,115,394 characters). As in nanoGPT, the last
tenth is only judged: every character of it is predicted once, with the state carried from its start
to its end. The model sees the first nine tenths, and holds out the end of these for itself. To
compare: 1.547 nats, the best of the models in Feng et al. 2024 (arXiv 2410.01201).
"""

import os

os.environ.setdefault("SEQKERAS_THREADS", "1")
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import gzip
import math
import time
from pathlib import Path

from seqkeras.text import LanguageModel


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    options = parser.parse_args()
    with gzip.open(options.data / "tinyshakespeare.txt.gz", "rt") as file:
        text = file.read()
    cut = len(text) * 9 // 10
    for seed in options.seeds:
        start = time.process_time()
        model = LanguageModel(seed=seed).fit(text[:cut])
        minutes = (time.process_time() - start) / 60
        log = model.log_
        print(f"seed {seed}, held out within the first nine tenths:", flush=True)
        print("  " + " ".join(f"{nats:.3f}" for nats in log.val_loss))
        nats = math.log(model.perplexity(text[cut:]))
        print(f"  fit: {minutes:.1f} CPU minutes; last tenth: {nats:.4f} nats per character")
        print(model.generate("ROMEO:\n", 200, seed=seed), flush=True)


if __name__ == "__main__":
    main()
