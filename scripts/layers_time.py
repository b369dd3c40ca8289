#!/usr/bin/env python3
"""The time of a training step of networks of several layers, beside PyTorch's on the same cores.

    pip install -r scripts/requirements.txt
    python scripts/layers_time.py [--rounds 5] [--seconds 2] [--threads N] [words:20,35 ...]

For each network `cargo run --release --example step_time` and PyTorch take turns, so many rounds; each
is a process of its own, and what it gives is the median of its repeats. Both do the same work: a window
of tokens and its labels in, the loss out; forwards and backwards, the gradient clipped to a norm of 1,
Adam at 1e-3, f32. The table has the median over the rounds, and the median, the least and the largest of
the rounds' ratios, this crate's time over PyTorch's. Below 1 this crate is faster. The load beside it is
the system's, over the minute before each round: what more of it than these two there was disturbs both.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NETWORKS = ["words:20,35", "words-tied:20,35", "classes:32,200"]
TOKENS = 10_000


def network(name):
    """The module, and how many labels are drawn from and whether every step has one."""
    from torch import nn

    class Words(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(TOKENS, 256)
            self.first = nn.LSTM(256, 512)
            self.second = nn.LSTM(512, 256)
            self.head = nn.Linear(256, TOKENS)
            if name == "words-tied":
                self.head.weight = self.embedding.weight

        def forward(self, x):
            return self.head(self.second(self.first(self.embedding(x))[0])[0]).reshape(-1, TOKENS)

    class Classes(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(TOKENS, 128)
            self.both_ways = nn.GRU(128, 128, bidirectional=True)
            self.head = nn.Linear(256, 5)

        def forward(self, x):
            return self.head(self.both_ways(self.embedding(x))[0].amax(0))

    if name not in ("words", "words-tied", "classes"):
        raise SystemExit(f"there is no network `{name}`, expected words, words-tied or classes")
    return (Classes(), 5, False) if name == "classes" else (Words(), TOKENS, True)


def torch_median(work, seconds, threads):
    """Milliseconds, timed as `step_time` does: three repeats, then at least five, at most 200."""
    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    name, sizes = work.split(":")
    batch, steps = map(int, sizes.split(","))
    module, labels, at_every_step = network(name)
    adam = torch.optim.Adam(module.parameters(), lr=1e-3)
    x = torch.randint(TOKENS, (steps, batch))
    y = torch.randint(labels, (steps * batch if at_every_step else batch,))
    times, begin = [], None
    for repeat in range(203):
        begin = time.perf_counter() if repeat == 3 else begin
        start = time.perf_counter()
        adam.zero_grad(set_to_none=True)
        loss = torch.nn.functional.cross_entropy(module(x), y)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        adam.step()
        loss.item()
        times.append((time.perf_counter() - start) * 1e3)
        if repeat >= 7 and time.perf_counter() - begin > seconds:
            break
    return statistics.median(times[3:])


def output(command, **options):
    return subprocess.run(list(map(str, command)), stdout=subprocess.PIPE, text=True, check=True, **options).stdout


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--torch", action="store_true", help="print PyTorch's milliseconds for the one network given")
    parser.add_argument("networks", nargs="*", default=NETWORKS)
    args = parser.parse_args()
    if args.torch:
        print(torch_median(args.networks[0], args.seconds, args.threads))
        return

    subprocess.run(["cargo", "build", "--release", "--example", "step_time"], cwd=ROOT, check=True)
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    step_time = [target / "release/examples/step_time", "--device", "cpu", "--seconds", args.seconds]
    peer = [sys.executable, __file__, "--torch", "--seconds", args.seconds, "--threads", args.threads]
    environment = {**os.environ, "RAYON_NUM_THREADS": str(args.threads)}
    times = {work: [] for work in args.networks}
    loads = []
    for _ in range(args.rounds):
        for work in args.networks:
            ours = json.loads(output([*step_time, work], env=environment))["ms"]
            times[work].append((ours, float(output([*peer, work]))))
        loads.append(os.getloadavg()[0])

    print(f"\n{args.rounds} rounds, {args.threads} threads, load {min(loads):.1f} to {max(loads):.1f}\n")
    print("| network | recurrent, ms | PyTorch, ms | ratio | of the rounds |\n|---|---|---|---|---|")
    for work, pairs in times.items():
        ours, theirs = (statistics.median(column) for column in zip(*pairs))
        ratios = [a / b for a, b in pairs]
        spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
        print(f"| {work} | {ours:.1f} | {theirs:.1f} | {statistics.median(ratios):.2f} | {spread} |")


if __name__ == "__main__":
    main()
