#!/usr/bin/env python3
"""The time of networks of one or several layers on the CPU, beside PyTorch's on the same cores.

    pip install -r scripts/requirements.txt
    python scripts/layers_time.py [--rounds 5] [--seconds 2] [--threads N] [--program PATH]
                                  [words:20,35 lstm:16,64,64,128,64 ...]

For each network `cargo run --release --example step_time` and PyTorch take turns, so many rounds; each
is a process of its own, and what it gives is the median of its repeats. Both do the same work, in f32.
Of networks of several layers, NAME:B,T, it is a training step: a window of tokens and its labels in,
the loss out; forwards and backwards, the gradient clipped to a norm of 1, Adam at 1e-3. Of one recurrent
layer with a read-out, CELL:B,T,I,H,V, it is also a forward pass without a graph, and a stream's step of
B sequences whose state is carried on. The table has the median over the rounds, and the median, the least
and the largest of the rounds' ratios, this crate's time over PyTorch's. Below 1 this crate is faster. The
load beside it is the system's, over the minute before each round: what more of it than these two there
was disturbs both. `--program`, which may be given again, times other builds of `step_time` in the same
turns, a column each.
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


def layers(name):
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

    return (Classes(), 5, False) if name == "classes" else (Words(), TOKENS, True)


def one_layer(cell, inputs, hidden, classes):
    """A recurrent layer and a read-out at every step."""
    from torch import nn

    class Layer(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = {"elman": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}[cell](inputs, hidden)
            self.head = nn.Linear(hidden, classes)

        def step(self, x, state):
            h, state = self.rnn(x, state)
            return self.head(h), state

        def forward(self, x):
            return self.step(x, None)[0].flatten(0, 1)

    return Layer()


def median_of(repeat, seconds):
    """Milliseconds, timed as `step_time` does: three repeats, then at least five, at most 200."""
    times, begin = [], None
    for done in range(203):
        begin = time.perf_counter() if done == 3 else begin
        start = time.perf_counter()
        repeat()
        times.append((time.perf_counter() - start) * 1e3)
        if done >= 7 and time.perf_counter() - begin > seconds:
            break
    return statistics.median(times[3:])


def torch_medians(work, seconds, threads):
    """Phase and milliseconds of each phase."""
    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    name, sizes = work.split(":")
    sizes = list(map(int, sizes.split(",")))
    batch, steps = sizes[:2]
    if name in ("elman", "lstm", "gru"):
        inputs, _, classes = sizes[2:]
        module, labels, at_every_step = one_layer(name, *sizes[2:]), classes, True
        x = torch.rand(steps, batch, inputs) * 2 - 1
    else:
        module, labels, at_every_step = layers(name)
        x = torch.randint(TOKENS, (steps, batch))
    y = torch.randint(labels, (steps * batch if at_every_step else batch,))
    adam = torch.optim.Adam(module.parameters(), lr=1e-3)

    def train():
        adam.zero_grad(set_to_none=True)
        loss = torch.nn.functional.cross_entropy(module(x), y)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        adam.step()
        loss.item()

    if name in ("elman", "lstm", "gru"):
        state = None

        def stream():
            nonlocal state
            _, state = module.step(x[:1], state)

        with torch.inference_mode():
            yield "forward", median_of(lambda: module(x), seconds)
            yield "stream", median_of(stream, seconds)
    yield "train", median_of(train, seconds)


def output(command, **options):
    return subprocess.run(list(map(str, command)), stdout=subprocess.PIPE, text=True, check=True, **options).stdout


def medians(lines):
    """The milliseconds of each phase, of JSON objects a line."""
    rows = map(json.loads, filter(None, lines.splitlines()))
    return {row["phase"]: row["ms"] for row in rows}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--program", type=Path, action="append", help="a step_time that was built before")
    parser.add_argument("--torch", action="store_true", help="print PyTorch's milliseconds of the one network given")
    parser.add_argument("--json", type=Path, help="append the rounds' times to this file, an object a line")
    parser.add_argument("networks", nargs="*", default=NETWORKS)
    args = parser.parse_args()
    known = {"words", "words-tied", "classes", "elman", "lstm", "gru"}
    if unknown := [work for work in args.networks if work.split(":")[0] not in known]:
        raise SystemExit(f"there is no network `{unknown[0]}`, expected {', '.join(sorted(known))}")
    if args.torch:
        for phase, ms in torch_medians(args.networks[0], args.seconds, args.threads):
            print(json.dumps({"phase": phase, "ms": round(ms, 4)}), flush=True)
        return

    programs = args.program
    if not programs:
        subprocess.run(["cargo", "build", "--release", "--example", "step_time"], cwd=ROOT, check=True)
        programs = [Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release/examples/step_time"]
    rest = ["--seconds", args.seconds]
    peer = [sys.executable, __file__, "--torch", *rest, "--threads", args.threads]
    environment = {**os.environ, "RAYON_NUM_THREADS": str(args.threads)}
    times, loads = {}, []
    for _ in range(args.rounds):
        for work in args.networks:
            options = ["--device", "cpu", *rest, *(["--stream"] if work.count(",") > 2 else []), work]
            ours = [medians(output([program, *options], env=environment)) for program in programs]
            theirs = medians(output([*peer, work]))
            for phase in theirs:
                times.setdefault((work, phase), []).append([*(of[phase] for of in ours), theirs[phase]])
        loads.append(os.getloadavg()[0])

    if args.json:
        with args.json.open("a") as file:
            for (work, phase), rounds in times.items():
                file.write(json.dumps({"work": work, "phase": phase, "ms": rounds}) + "\n")
    print(f"\n{args.rounds} rounds, {args.threads} threads, load {min(loads):.1f} to {max(loads):.1f}\n")
    names = ["recurrent, ms"] if len(programs) == 1 else [f"{program}, ms" for program in programs]
    print("| network | phase | " + " | ".join(names) + " | PyTorch, ms | ratio | of the rounds |")
    print("|---" * (len(programs) + 5) + "|")
    for (work, phase), rounds in times.items():
        columns = [f"{statistics.median(column):.4g}" for column in zip(*rounds)]
        # Of several programs, the last one's.
        ratios = [ms[-2] / ms[-1] for ms in rounds]
        spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
        print(f"| {work} | {phase} | {' | '.join(columns)} | {statistics.median(ratios):.2f} | {spread} |")


if __name__ == "__main__":
    main()
