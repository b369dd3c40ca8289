#!/usr/bin/env python3
"""The time of the loss of label sequences and its gradient, beside PyTorch's on the same cores.

    pip install -r scripts/requirements.txt
    python scripts/ctc_time.py [--rounds 5] [--threads N]

`cargo bench --bench ctc` and PyTorch take turns, so many rounds; each is a process of its own, and what it gives is the
median of its repeats. Both do the same work: logits of 400 steps, 16 sequences and 30 outputs, 40 labels each; the mean
of the losses, and its gradient in the logits, f32. PyTorch's is that of `log_softmax` and `ctc_loss`. The two losses
have to be equal. Below a ratio of 1 this crate is faster.
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
STEPS, BATCH, OUTPUTS, LABELS = 400, 16, 30, 40


def torch_time(threads):
    import torch
    import torch.nn.functional as F

    torch.set_num_threads(threads)
    at = torch.arange(STEPS * BATCH * OUTPUTS, dtype=torch.float64)
    y = (at * 31 % 997 / 249 - 2).float().view(STEPS, BATCH, OUTPUTS).requires_grad_(True)
    labels = 1 + torch.arange(BATCH * LABELS).view(BATCH, LABELS) * 7 % (OUTPUTS - 1)
    lengths, counts = torch.full((BATCH,), STEPS), torch.full((BATCH,), LABELS)
    times, begin = [], time.perf_counter()
    while len(times) <= 8 or time.perf_counter() - begin < 2:
        y.grad = None
        start = time.perf_counter()
        loss = F.ctc_loss(F.log_softmax(y, 2), labels, lengths, counts, reduction="sum") / BATCH
        loss.backward()
        times.append((time.perf_counter() - start) * 1e3)
    return {"ms": statistics.median(times[3:]), "loss": loss.item()}


def said(command, **options):
    out = subprocess.run(list(map(str, command)), stdout=subprocess.PIPE, text=True, check=True, **options).stdout
    return json.loads(out.strip().splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--torch", action="store_true", help="print PyTorch's figures")
    args = parser.parse_args()
    if args.torch:
        print(json.dumps(torch_time(args.threads)))
        return
    environment = {**os.environ, "RAYON_NUM_THREADS": str(args.threads)}
    bench = ["cargo", "bench", "--quiet", "--bench", "ctc"]
    said(bench, cwd=ROOT, env=environment)
    pairs = []
    for _ in range(args.rounds):
        ours = said(bench, cwd=ROOT, env=environment)
        theirs = said([sys.executable, __file__, "--torch", "--threads", args.threads])
        if abs(ours["loss"] / theirs["loss"] - 1) > 1e-4:
            raise SystemExit(f"the losses are {ours['loss']} and {theirs['loss']}, expected the same")
        pairs.append((ours["ms"], theirs["ms"]))
    ours, theirs = (statistics.median(column) for column in zip(*pairs))
    ratios = sorted(a / b for a, b in pairs)
    print(f"{args.rounds} rounds, {args.threads} threads, load {os.getloadavg()[0]:.1f}")
    print(f"recurrent {ours:.2f} ms, PyTorch {theirs:.2f} ms, ratio {statistics.median(ratios):.2f}", end=" ")
    print(f"({ratios[0]:.2f} to {ratios[-1]:.2f})")


if __name__ == "__main__":
    main()
