#!/usr/bin/env python3
"""A network from PyTorch to this crate and back, with the outputs compared on both sides.

    pip install torch numpy safetensors
    python scripts/pytorch_round_trip.py save torch.safetensors --cell lstm --layers 2
    cargo run --example pytorch -- torch.safetensors ...     (`save` prints the whole line)
    python scripts/pytorch_round_trip.py check torch.safetensors back.safetensors --outputs outputs.json

`save` makes an nn.RNN, nn.LSTM or nn.GRU at `encoder.rnn` and an nn.Linear at `head`
of a module, with random weights, and saves the state_dict. The crate imports that file,
runs it over STEPS steps of ones and exports it again. `check` loads what came back into
a fresh module, strictly, and compares: the weights bit for bit, the outputs on random
input bit for bit, and, given --outputs, the numbers that the crate computed with its
own arithmetic. It exits with 1 where something differs.
"""

import argparse
import json
import sys
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

# The crate's own outputs in f32 against PyTorch's: some hundred roundings of 6e-8 each.
TOLERANCE = 1e-5
STEPS = 5


class Network(nn.Module):
    """The kind of module that people have: the layers lie some levels down."""

    def __init__(self, case):
        super().__init__()
        options = {"bidirectional": case["bidirectional"], "bias": case["bias"]}
        if case["cell"] == "rnn-relu":
            options["nonlinearity"] = "relu"
        kind = {"rnn": nn.RNN, "rnn-relu": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}[case["cell"]]
        self.encoder = nn.ModuleDict({"rnn": kind(case["inputs"], case["hidden"], case["layers"], **options)})
        self.head = nn.Linear(case["hidden"] * (2 if case["bidirectional"] else 1), case["outputs"])

    def forward(self, x):
        return self.head(self.encoder["rnn"](x)[0])


def save(args):
    case = {
        "cell": args.cell,
        "inputs": args.inputs,
        "hidden": args.hidden,
        "outputs": args.outputs,
        "layers": args.layers,
        "bidirectional": args.bidirectional,
        "bias": not args.no_bias,
    }
    torch.manual_seed(args.seed)
    network = Network(case)
    if args.dtype != "float32":
        network = network.to(getattr(torch, args.dtype))
    save_file(network.state_dict(), args.file, {"format": "pt", "case": json.dumps(case)})

    line = f"cargo run --example pytorch -- {args.file} --export back.safetensors"
    for option in ("cell", "inputs", "hidden", "outputs", "layers"):
        line += f" --{option} {case[option]}"
    line += " --no-bias" if args.no_bias else ""
    line += " --bidirectional" if args.bidirectional else ""
    line += f" --run {STEPS} > outputs.json"
    print(line)


def check(args):
    with safe_open(args.file, "pt") as file:
        case = json.loads(file.metadata()["case"])
    # Every number of the smaller types is one of f32; those of float64 the crate rounds, and so does this.
    before = {name: tensor.float() for name, tensor in load_file(args.file).items()}
    after = load_file(args.back)
    networks = [Network(case), Network(case)]
    for network, weights in zip(networks, (before, after)):
        network.load_state_dict(weights, strict=True)

    failed = [name for name in before if not torch.equal(before[name], after[name])]
    for name in failed:
        print(f"{name} differs")
    torch.manual_seed(1)
    x = torch.randn(20, 3, case["inputs"])
    with torch.no_grad():
        same = torch.equal(networks[0](x), networks[1](x))
        ours = networks[0](torch.ones(STEPS, 1, case["inputs"]))[-1, 0]
    print(f"{len(before)} tensors, {len(failed)} differ; the outputs are {'the same' if same else 'others'}")
    if args.outputs:
        theirs = torch.tensor(json.loads(args.outputs.read_text()))
        error = (theirs - ours).abs().max().item() if theirs.shape == ours.shape else float("nan")
        print(f"computed by the crate: off by at most {error:.1e}, allowed {TOLERANCE:.0e}")
        same = same and error <= TOLERANCE
    sys.exit(0 if same and not failed else 1)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("save", help="make a module and save its state_dict")
    command.add_argument("file", type=Path)
    command.add_argument("--cell", choices=("rnn", "rnn-relu", "lstm", "gru"), default="lstm")
    for size, default in (("inputs", 5), ("hidden", 7), ("outputs", 4), ("layers", 1), ("seed", 0)):
        command.add_argument(f"--{size}", type=int, default=default)
    command.add_argument("--bidirectional", action="store_true")
    command.add_argument("--no-bias", action="store_true")
    types = ("float64", "float32", "float16", "bfloat16")
    command.add_argument("--dtype", choices=types, default="float32", help="in which the weights are saved")
    command.set_defaults(run=save)
    command = commands.add_parser("check", help="compare a file that came back")
    command.add_argument("file", type=Path, help="what `save` wrote")
    command.add_argument("back", type=Path, help="what the crate exported")
    command.add_argument("--outputs", type=Path, help="what the crate printed for --run")
    command.set_defaults(run=check)
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
