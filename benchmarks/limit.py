"""The raw limit, a process a core: JPEGs in memory are decoded and computed in a loop, and nothing else.

`python -m benchmarks.limit --model DIR --pictures DIR` finds the batch that costs least, then answers each line of its
input with a line of JSON: to `classify`, what all pictures show; to a number of seconds, how many pictures it computed
in that time.
"""

import argparse
import json
import sys
import time
from pathlib import Path

from benchmarks.peers.net import Net

BATCHES = (1, 2, 4, 8, 16, 32)


def main() -> None:
    """Answer until the input ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--pictures", type=Path, required=True)
    options = parser.parse_args()
    net = Net(options.model)
    jpegs = [path.read_bytes() for path in sorted(options.pictures.iterdir())]
    batch = best_batch(net, jpegs)
    print(json.dumps({"batch": batch}), flush=True)
    for line in sys.stdin:
        if line.strip() == "classify":
            labels, confidences = net.classify(jpegs)
            print(json.dumps({"labels": labels, "confidences": confidences}), flush=True)
        else:
            print(json.dumps({"images": compute(net, jpegs, batch, float(line))}), flush=True)


def compute(net: Net, jpegs: list[bytes], batch: int, seconds: float) -> int:
    """How many pictures are computed in this time, so many together."""
    deadline, images = time.perf_counter() + seconds, 0
    while time.perf_counter() < deadline:
        first = images % len(jpegs)
        net.logits(jpegs[first : first + batch])
        images += batch
    return images


def best_batch(net: Net, jpegs: list[bytes]) -> int:
    """The batch of which a picture costs least CPU time, tried in turns."""
    costs: dict[int, list[float]] = {batch: [] for batch in BATCHES if len(jpegs) % batch == 0}
    for _ in range(5):
        for batch, spent in costs.items():
            started = time.process_time()
            images = compute(net, jpegs, batch, 0.1)
            spent.append((time.process_time() - started) / images)
    return min(costs, key=lambda batch: min(costs[batch]))


if __name__ == "__main__":
    main()
