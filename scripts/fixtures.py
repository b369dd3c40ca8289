"""Reference numbers from PyTorch, in f64, that the executors are tested against.

Writes tests/fixtures/*.safetensors. The files in the repository were made with
torch 2.15.0 on a CPU. From the repository root:

    pip install -r scripts/requirements.txt
    python scripts/fixtures.py

Seeds are fixed: a rerun with the same versions on the same kind of machine
gives the same bytes.

The model is nn.RNN, nn.LSTM or nn.GRU of I, H and L layers, time-major and with
bias, followed by nn.Linear(H, O). T is the number of steps, B the batch size, G the
number of gates (1, 4, 3). Tensors of one case, F64 except where
said:

    weight_ih_l0 [G·H,I]  weight_hh_l0 [G·H,H]  bias_ih_l0 [G·H]  bias_hh_l0 [G·H]
    weight_ih_l1 [G·H,H]  …   the second layer's, if there is one
    weight [O,H]  bias [O]    the read-out
    x [T,B,I]                 input "dense"
    tokens [T,B] I32          input "tokens": ids below I, one-hot into the same model
    h0 [L,B,H]  hn [L,B,H]    hidden state before the first and after the last step
    c0 [L,B,H]  cn [L,B,H]    the same of an LSTM's c
    targets                   cross_entropy: class ids, I32, shaped like mask
                              mse: shaped like logits
    mask                      1 = counted, 0 = not; readout "every" [T,B], "last" [B]
    logits                    readout "every" [T,B,O], "last" [B,O]
    loss [1]                  mean over the counted positions (mse: and over O)
    grad.<parameter>          d loss / d parameter, shaped like the parameter
    grad.h0 [L,B,H]           d loss / d h0; of an LSTM grad.c0 too
    norm [1]                  global 2-norm of the parameter gradients, the states left out

Metadata: `case`, JSON with cell, activation ("" but for elman), input, readout, loss,
T, B, I, H, O and, in the later cases, layers (1 where it is left out).

optimizer_*.safetensors: the parameters, x, h0, targets and mask of the first case,
and step1.<parameter>, step2.<parameter>, step3.<parameter>: the parameters after
each of three steps on that batch, each starting from the same h0. Metadata: `case`,
and `optimizer`, JSON with the optimizer's name, its hyperparameters under PyTorch's
names (any other is PyTorch's default, weight_decay 0), clip ("none", "norm" or
"value") and clip_value.
"""

import json
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import nn
from torch.nn import functional

FOLDER = Path(__file__).resolve().parent.parent / "tests" / "fixtures"

# The seed, a tag for the file name, and the columns of `case`.
COLUMNS = ("cell", "activation", "input", "readout", "loss", "T", "B", "I", "H", "O", "layers")
CASES = [
    (1, "", "elman", "tanh", "dense", "every", "cross_entropy", 6, 3, 5, 7, 4),
    (2, "", "elman", "relu", "dense", "every", "cross_entropy", 6, 3, 5, 7, 4),
    (3, "", "elman", "tanh", "tokens", "every", "cross_entropy", 6, 3, 11, 7, 4),
    (4, "", "elman", "relu", "tokens", "last", "cross_entropy", 6, 3, 11, 7, 4),
    (5, "", "elman", "tanh", "dense", "last", "mse", 6, 3, 5, 7, 4),
    (6, "", "elman", "tanh", "dense", "every", "mse", 6, 3, 5, 7, 4),
    (7, "_t1_b1", "elman", "tanh", "dense", "every", "cross_entropy", 1, 1, 5, 7, 4),
    (8, "_h33", "elman", "tanh", "dense", "every", "cross_entropy", 9, 5, 17, 33, 4),
    (9, "_l2", "elman", "tanh", "dense", "every", "cross_entropy", 6, 3, 5, 7, 4, 2),
    (10, "_l2", "elman", "relu", "tokens", "last", "cross_entropy", 6, 3, 11, 7, 4, 2),
    (11, "", "lstm", "", "dense", "every", "cross_entropy", 6, 3, 5, 7, 4, 1),
    (12, "", "lstm", "", "tokens", "last", "cross_entropy", 6, 3, 11, 7, 4, 1),
    (13, "_l2", "lstm", "", "tokens", "every", "cross_entropy", 6, 3, 11, 7, 4, 2),
    (14, "_l2", "lstm", "", "dense", "last", "mse", 6, 3, 5, 7, 4, 2),
    (15, "_h33", "lstm", "", "dense", "every", "cross_entropy", 9, 5, 17, 33, 4, 1),
    (16, "", "gru", "", "dense", "every", "cross_entropy", 6, 3, 5, 7, 4, 1),
    (17, "", "gru", "", "tokens", "last", "cross_entropy", 6, 3, 11, 7, 4, 1),
    (18, "_l2", "gru", "", "tokens", "every", "cross_entropy", 6, 3, 11, 7, 4, 2),
    (19, "_l2", "gru", "", "dense", "last", "mse", 6, 3, 5, 7, 4, 2),
    (20, "_h33", "gru", "", "dense", "every", "cross_entropy", 9, 5, 17, 33, 4, 1),
]

# The file name's recipe, the class, its arguments, the kind of clipping and its value.
OPTIMIZERS = [
    ("sgd", torch.optim.SGD, {"lr": 0.1, "momentum": 0.0}, "none", 0.0),
    ("sgd_momentum", torch.optim.SGD, {"lr": 0.1, "momentum": 0.9}, "none", 0.0),
    ("rmsprop", torch.optim.RMSprop, {"lr": 0.01, "alpha": 0.99, "eps": 1e-8}, "none", 0.0),
    ("adam", torch.optim.Adam, {"lr": 2e-3, "betas": (0.9, 0.999), "eps": 1e-8}, "none", 0.0),
    ("adamw", torch.optim.AdamW,
     {"lr": 2e-3, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.01}, "none", 0.0),
    ("sgd_momentum_clip_norm", torch.optim.SGD, {"lr": 0.1, "momentum": 0.9}, "norm", 0.05),
    ("adam_clip_value", torch.optim.Adam,
     {"lr": 2e-3, "betas": (0.9, 0.999), "eps": 1e-8}, "value", 0.01),
]


def build(seed, case):
    """The model, its parameters by name, and a batch."""
    generator = torch.Generator().manual_seed(seed)
    T, B, I, H, O = (case[size] for size in "TBIHO")
    layers = case.get("layers", 1)
    if case["cell"] == "elman":
        rnn = nn.RNN(I, H, layers, nonlinearity=case["activation"])
    else:
        rnn = {"lstm": nn.LSTM, "gru": nn.GRU}[case["cell"]](I, H, layers)
    readout = nn.Linear(H, O)
    parameters = dict(rnn.named_parameters()) | dict(readout.named_parameters())
    for parameter in parameters.values():
        nn.init.uniform_(parameter, -0.6, 0.6, generator=generator)

    batch = {}
    if case["input"] == "tokens":
        batch["tokens"] = torch.randint(I, (T, B), generator=generator, dtype=torch.int32)
    else:
        batch["x"] = torch.randn(T, B, I, generator=generator)
    for state in ("h0", "c0") if case["cell"] == "lstm" else ("h0",):
        values = torch.empty(layers, B, H)
        batch[state] = nn.init.uniform_(values, -1, 1, generator=generator).requires_grad_()
    positions = (T, B) if case["readout"] == "every" else (B,)
    if case["loss"] == "cross_entropy":
        batch["targets"] = torch.randint(O, positions, generator=generator, dtype=torch.int32)
    else:
        batch["targets"] = torch.randn(*positions, O, generator=generator)
    # A third of the positions is not counted; a lone position is.
    mask = torch.ones(positions)
    count = mask.numel()
    mask.view(-1)[torch.randperm(count, generator=generator)[: count // 3]] = 0
    batch["mask"] = mask
    return rnn, readout, parameters, batch


def forward(case, rnn, readout, batch):
    """The logits, the states after the last step by name, and the loss."""
    if case["input"] == "tokens":
        x = functional.one_hot(batch["tokens"].long(), case["I"]).to(torch.float64)
    else:
        x = batch["x"]
    if case["cell"] == "lstm":
        hidden, (hn, cn) = rnn(x, (batch["h0"], batch["c0"]))
        states = {"hn": hn, "cn": cn}
    else:
        hidden, hn = rnn(x, batch["h0"])
        states = {"hn": hn}
    logits = readout(hidden if case["readout"] == "every" else hidden[-1])
    counted = batch["mask"] == 1
    if case["loss"] == "cross_entropy":
        loss = functional.cross_entropy(logits[counted], batch["targets"][counted].long())
    else:
        loss = functional.mse_loss(logits[counted], batch["targets"][counted])
    return logits, states, loss


def copies(tensors, prefix=""):
    return {prefix + name: tensor.detach().clone() for name, tensor in tensors.items()}


def write(name, tensors, metadata):
    """One file. safetensors writes the metadata in random order: here it is sorted."""
    data = save(tensors, metadata)
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    header["__metadata__"] = dict(sorted(metadata.items()))
    text = json.dumps(header, separators=(",", ":")).encode().ljust(size)
    assert len(text) == size
    (FOLDER / f"{name}.safetensors").write_bytes(data[:8] + text + data[8 + size :])


def write_case(name, seed, case):
    rnn, readout, parameters, batch = build(seed, case)
    logits, states, loss = forward(case, rnn, readout, batch)
    loss.backward()
    tensors = copies(parameters) | copies(batch)
    tensors |= copies({"logits": logits} | states | {"loss": loss.reshape(1)})
    differentiated = parameters | {name: batch[name] for name in ("h0", "c0") if name in batch}
    tensors |= copies({key: value.grad for key, value in differentiated.items()}, "grad.")
    # An infinite bound: the norm, and nothing clipped.
    norm = nn.utils.clip_grad_norm_(parameters.values(), float("inf"))
    tensors["norm"] = norm.reshape(1)
    write(name, tensors, {"case": json.dumps(case)})


def write_optimizer(recipe, optimizer_class, arguments, clip, clip_value, seed, case):
    rnn, readout, parameters, batch = build(seed, case)
    tensors = copies(parameters) | copies(batch)
    optimizer = optimizer_class(parameters.values(), **arguments)
    for step in (1, 2, 3):
        optimizer.zero_grad()
        forward(case, rnn, readout, batch)[2].backward()
        if clip == "norm":
            norm = nn.utils.clip_grad_norm_(parameters.values(), clip_value)
            assert norm > 2 * clip_value, f"{recipe}: the norm {norm} is not clipped"
        elif clip == "value":
            largest = max(parameter.grad.abs().max() for parameter in parameters.values())
            assert largest > 2 * clip_value, f"{recipe}: {largest} is not clipped"
            nn.utils.clip_grad_value_(parameters.values(), clip_value)
        optimizer.step()
        tensors |= copies(parameters, f"step{step}.")
    name = optimizer_class.__name__.lower()
    settings = {"name": name, **arguments, "clip": clip, "clip_value": clip_value}
    metadata = {"case": json.dumps(case), "optimizer": json.dumps(settings)}
    write(f"optimizer_{recipe}", tensors, metadata)


def main():
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)
    FOLDER.mkdir(parents=True, exist_ok=True)

    cases = []
    for seed, tag, *values in CASES:
        case = dict(zip(COLUMNS, values))
        cases.append((seed, case))
        write_case("_".join(filter(None, values[:5])) + tag, seed, case)
    for recipe in OPTIMIZERS:
        write_optimizer(*recipe, *cases[0])

    for path in sorted(FOLDER.glob("*.safetensors")):
        with safe_open(path, "pt") as file:
            for name in file.keys():
                assert file.get_tensor(name).isfinite().all(), f"{path.name}: {name}"
        print(f"{path.stat().st_size:7} {path.name}")


if __name__ == "__main__":
    main()
