"""Milliseconds that an import adds to bare Python: median and quartiles of many starts.

python benchmarks/import_time.py [--starts 40]
"""

import argparse
import statistics
import subprocess
import sys
import time

STATEMENTS = [
    "pass",
    "import seqkeras",
    "import numpy",
    "import seqkeras, numpy; seqkeras.WindowSpec",
]


def milliseconds(statement: str) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", statement], check=True)
    return 1000 * (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--starts", type=int, default=40)
    starts = parser.parse_args().starts
    # In turns, so a busy moment of the machine affects all alike.
    times = {statement: [] for statement in STATEMENTS}
    for _ in range(starts):
        for statement in STATEMENTS:
            times[statement].append(milliseconds(statement))
    bare = statistics.median(times["pass"])
    print(f"{'':44} median   above   25 % .. 75 %")
    for statement, values in times.items():
        low, middle, high = statistics.quantiles(values, n=4)
        print(f"{statement:44}{middle:7.1f} {middle - bare:7.1f}   {low:.1f} .. {high:.1f}")


if __name__ == "__main__":
    main()
