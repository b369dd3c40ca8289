"""Reference numbers from PyTorch, in f64, that the executors are tested against.

Writes tests/fixtures/*.safetensors. The files in the repository were made with
torch 2.15.0 on a CPU. From the repository root:

    pip install -r scripts/requirements.txt
    python scripts/fixtures.py

Seeds are fixed: a rerun with the same versions on the same kind of machine
gives the same bytes.

The model is nn.RNN, nn.LSTM or nn.GRU of I, H and L layers, time-major, followed by
nn.Linear(D·H, O). T is the number of steps, B the batch size, G the number of gates
(1, 4, 3), D the number of directions. Tensors of one case, F64 except where said:

    weight_ih_l0 [G·H,I]  weight_hh_l0 [G·H,H]  bias_ih_l0 [G·H]  bias_hh_l0 [G·H]
    weight_ih_l1 [G·H,D·H]  …   the second layer's, if there is one
    weight_ih_l0_reverse …    the second direction's, if there is one
    weight [O,D·H]  bias [O]  the read-out
    x [T,B,I]                 input "dense"
    tokens [T,B] I32          input "tokens": ids below I, one-hot into the same model
    h0 [L,B,D·H]  hn [L,B,D·H]    hidden state before the first and after the last step
    c0 [L,B,D·H]  cn [L,B,D·H]    the same of an LSTM's c
    targets                   cross_entropy: class ids, I32, shaped like mask
                              mse: shaped like logits
    mask                      1 = counted, 0 = not; readout "every" [T,B], else [B]
    logits                    readout "every" [T,B,O], else [B,O]
    loss [1]                  mean over the counted positions (mse: and over O)
    grad.<parameter>          d loss / d parameter, shaped like the parameter
    grad.h0 [L,B,D·H]         d loss / d h0; of an LSTM grad.c0 too
    norm [1]                  global 2-norm of the parameter gradients, the states left out

Metadata: `case`, JSON with cell, activation ("" but for elman), input, readout, loss,
T, B, I, H, O and, in the later cases, layers (1 where it is left out).

matrix_*.safetensors: many small cases a file, one for every combination of layers,
directions, equal and unequal lengths, with and without the layers' biases, and some
more. The tensors of a case have its name and a slash before theirs. Metadata: `cases`,
a JSON list of what `case` has and name, layers, directions (1 or 2), bias, unequal,
learned_initial_state (true or false) and reset (of a GRU "after" or "before", else ""). All
numbers that go in are f32 ones, so that executors of either precision start alike.
matrix_gru_before is by `gru_before_step`, as PyTorch has no such cell.

    lengths [B] I32           valid steps of each sequence; T where unequal is false.
                              Inputs and targets behind them are arbitrary (x: large),
                              mask is 0 there, and so are logits, which mean nothing
    h0, hn, c0, cn            the directions side by side; the final state of a sequence
                              is that at its own end, of the reverse direction that
                              after step 0
    h_0 [L,D·H]  c_0          learned_initial_state: parameters, the state before the first step
                              of every sequence, in the place of h0 and c0
    readout "last"            from the last states of the top layer's directions
    readout "mean"            from the mean of the top layer's outputs over valid steps

`python scripts/fixtures.py --check-export FOLDER` writes nothing. It loads
FOLDER/<file>/<case>.safetensors, the parameters that the crate exported for every case
of the matrix, into the modules: names, shapes, f32 values and outputs have to be those
of the fixture.

optimizer_*.safetensors: the parameters, x, h0, targets and mask of the first case,
and step1.<parameter>, step2.<parameter>, step3.<parameter>: the parameters after
each of three steps on that batch, each starting from the same h0. Metadata: `case`,
and `optimizer`, JSON with the optimizer's name, its hyperparameters under PyTorch's
names (any other is PyTorch's default, weight_decay 0), clip ("none", "norm" or
"value") and clip_value.
"""

import itertools
import json
import sys
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save
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


# The files of the matrix: the cell, its activation and where a GRU resets.
MATRIX = {
    "matrix_elman_tanh": ("elman", "tanh", ""),
    "matrix_elman_relu": ("elman", "relu", ""),
    "matrix_lstm": ("lstm", "", ""),
    "matrix_gru": ("gru", "", "after"),
    "matrix_gru_before": ("gru", "", "before"),
}
# Layers, directions, unequal lengths, biases, a learned start. All without a learned start
# but where PyTorch has no such cell; some with one.
EVERY = [(*values, False) for values in itertools.product((1, 2), (1, 2), (False, True), (True, False))]
STRUCTURES = {
    "matrix_elman_tanh": [*EVERY, (1, 1, False, True, True)],
    "matrix_elman_relu": EVERY,
    "matrix_lstm": [*EVERY, (2, 2, True, True, True)],
    "matrix_gru": [*EVERY, (2, 1, True, False, True), (1, 2, False, True, True)],
    "matrix_gru_before": [
        (1, 1, False, True, False),
        (2, 2, True, False, False),
        (1, 2, False, True, False),
    ],
}
# All different, so that no two can be mistaken for each other; what is left, 2, is L and D.
SIZES = {"T": 5, "B": 3, "I": 6, "H": 4, "O": 7}
# Dealt out in turn.
DATA = list(itertools.product(("cross_entropy", "mse"), ("dense", "tokens"), ("every", "last", "mean")))
# How near a pre-activation may come to the kink of max(0, x).
KINK_MARGIN = 1e-3


def matrix():
    """The files of the matrix: the name and its cases."""
    dealt = {group: 2 * at for at, group in enumerate(itertools.product((1, 2), (False, True)))}
    for file, structures in STRUCTURES.items():
        cases = []
        for layers, directions, unequal, bias, learned_initial_state in structures:
            # 5 and 12 have no common factor: every group of directions and lengths gets all
            # of DATA, and of four in a row each has another input, loss or read-out.
            group = (directions, unequal)
            loss, source, readout = DATA[5 * dealt[group] % len(DATA)]
            dealt[group] += 1
            name = f"l{layers}_d{directions}_{'unequal' if unequal else 'equal'}_{'bias' if bias else 'nobias'}"
            cell, activation, reset = MATRIX[file]
            cases.append(
                {"name": name + ("_learned" if learned_initial_state else ""), "cell": cell}
                | {"activation": activation, "reset": reset, "input": source, "readout": readout, "loss": loss}
                | SIZES
                | {"layers": layers, "directions": directions, "bias": bias, "unequal": unequal}
                | {"learned_initial_state": learned_initial_state}
            )
        yield file, cases


def model(case):
    """The modules and their parameters by name, those of a learned start included."""
    I, H, O = (case[size] for size in "IHO")
    layers, directions = case.get("layers", 1), case.get("directions", 1)
    arguments = {"bias": case.get("bias", True), "bidirectional": directions == 2}
    if case["cell"] == "elman":
        rnn = nn.RNN(I, H, layers, nonlinearity=case["activation"], **arguments)
    else:
        rnn = {"lstm": nn.LSTM, "gru": nn.GRU}[case["cell"]](I, H, layers, **arguments)
    readout = nn.Linear(directions * H, O)
    parameters = dict(rnn.named_parameters()) | dict(readout.named_parameters())
    if case.get("learned_initial_state"):
        for state in ("h_0", "c_0") if case["cell"] == "lstm" else ("h_0",):
            parameters[state] = nn.Parameter(torch.empty(layers, directions * H))
    return rnn, readout, parameters


def draw_lengths(case, generator):
    """One of T, one between 1 and T, and sorted neither way."""
    T = case["T"]
    while True:
        lengths = torch.randint(1, T + 1, (case["B"],), generator=generator, dtype=torch.int32)
        drawn = lengths.tolist()
        ways = (sorted(drawn), sorted(drawn, reverse=True))
        if T in drawn and any(1 < length < T for length in drawn) and drawn not in ways:
            return lengths


def build(seed, case):
    """The modules, their parameters by name, and a batch."""
    generator = torch.Generator().manual_seed(seed)
    T, B, I, H, O = (case[size] for size in "TBIHO")
    layers, width = case.get("layers", 1), case.get("directions", 1) * H
    rnn, readout, parameters = model(case)
    for parameter in parameters.values():
        nn.init.uniform_(parameter, -0.6, 0.6, generator=generator)

    batch = {}
    valid = torch.ones(T, B, dtype=torch.bool)
    if "unequal" in case:
        equal = torch.full((B,), T, dtype=torch.int32)
        batch["lengths"] = draw_lengths(case, generator) if case["unequal"] else equal
        valid = torch.arange(T)[:, None] < batch["lengths"]
    if case["input"] == "tokens":
        batch["tokens"] = torch.randint(I, (T, B), generator=generator, dtype=torch.int32)
    else:
        batch["x"] = torch.randn(T, B, I, generator=generator)
        batch["x"][~valid] *= 100
    if not case.get("learned_initial_state"):
        for state in ("h0", "c0") if case["cell"] == "lstm" else ("h0",):
            values = torch.empty(layers, B, width)
            batch[state] = nn.init.uniform_(values, -1, 1, generator=generator).requires_grad_()
    positions = (T, B) if case["readout"] == "every" else (B,)
    if case["loss"] == "cross_entropy":
        batch["targets"] = torch.randint(O, positions, generator=generator, dtype=torch.int32)
    else:
        batch["targets"] = torch.randn(*positions, O, generator=generator)
    # Of the valid positions a third is not counted; a lone one is. Of unequal sequences
    # with one label each all count, or there might be none but long ones.
    mask = torch.ones(positions)
    if case["readout"] == "every":
        mask = valid.to(mask.dtype)
    if case["readout"] == "every" or not case.get("unequal"):
        counted = mask.view(-1).nonzero().view(-1)
        left_out = torch.randperm(len(counted), generator=generator)[: len(counted) // 3]
        mask.view(-1)[counted[left_out]] = 0
    batch["mask"] = mask
    return rnn, readout, parameters, batch


def relu_step(weights, x, h, sums):
    """One step of an Elman cell; `sums` gets its pre-activations."""
    w, u, b_w, b_u = weights
    sums.append(functional.linear(x, w, b_w) + functional.linear(h, u, b_u))
    return sums[-1].relu()


def gru_before_step(weights, x, h):
    """One step of a GRU that resets before the product (Cho et al. 2014)."""
    (w_r, w_z, w_n), (u_r, u_z, u_n), (b_wr, b_wz, b_wn), (b_ur, b_uz, b_un) = (part.chunk(3) for part in weights)
    linear = functional.linear
    r = torch.sigmoid(linear(x, w_r, b_wr) + linear(h, u_r, b_ur))
    z = torch.sigmoid(linear(x, w_z, b_wz) + linear(h, u_z, b_uz))
    n = torch.tanh(linear(x, w_n, b_wn) + linear(r * h, u_n, b_un))
    return (1 - z) * n + z * h


def unroll(step, case, rnn, x, h0, valid):
    """What `rnn` gives for padded sequences, by a step of one's own."""
    last = []
    for layer in range(case["layers"]):
        ways = []
        for way in range(case["directions"]):
            at = layer * case["directions"] + way
            w, u, *biases = rnn.all_weights[at]
            weights = [w, u, *(biases or [torch.zeros(len(w))] * 2)]
            h, outputs = h0[at], {}
            for t in reversed(range(len(x))) if way else range(len(x)):
                h = torch.where(valid[t, :, None], step(weights, x[t], h), h)
                outputs[t] = torch.where(valid[t, :, None], h, 0)
            last.append(h)
            ways.append(torch.stack([outputs[t] for t in range(len(x))]))
        x = torch.cat(ways, -1)
    return x, torch.stack(last)


def run_padded(rnn, x, states, lengths):
    """The same by the module itself."""
    packed = nn.utils.rnn.pack_padded_sequence(x, lengths.long(), enforce_sorted=False)
    outputs, states = rnn(packed, states)
    return nn.utils.rnn.pad_packed_sequence(outputs, total_length=len(x))[0], states


def dense(case, batch):
    if case["input"] == "tokens":
        return functional.one_hot(batch["tokens"].long(), case["I"]).to(torch.float64)
    return batch["x"]


def start(case, parameters, batch):
    """The initial states [L·D, B, H], PyTorch's order, from [L, B, D·H] or from the learned [L, D·H]."""
    L, D, B, H = case.get("layers", 1), case.get("directions", 1), case["B"], case["H"]
    if case.get("learned_initial_state"):
        learned = [parameters[name] for name in ("h_0", "c_0") if name in parameters]
        return [state.view(L * D, 1, H).expand(-1, B, -1).contiguous() for state in learned]
    given = [batch[name] for name in ("h0", "c0") if name in batch]
    return [state.view(L, B, D, H).transpose(1, 2).reshape(L * D, B, H) for state in given]


def forward(case, rnn, readout, parameters, batch):
    """The logits, the states after the last step by name, and the loss."""
    L, D, T, B = case.get("layers", 1), case.get("directions", 1), case["T"], case["B"]
    x, states = dense(case, batch), start(case, parameters, batch)
    lengths = batch.get("lengths", torch.full((B,), T))
    valid = torch.arange(T)[:, None] < lengths
    given = tuple(states) if case["cell"] == "lstm" else states[0]
    if case.get("reset") == "before":
        hidden, last = unroll(gru_before_step, case, rnn, x, states[0], valid)
    elif case.get("unequal"):
        hidden, last = run_padded(rnn, x, given, lengths)
    else:
        hidden, last = rnn(x, given)
    last = last if case["cell"] == "lstm" else (last,)
    if case["readout"] == "every":
        logits = torch.where(valid[:, :, None], readout(hidden), 0)
    elif case["readout"] == "last":
        ends = hidden[lengths - 1, torch.arange(B)] if case.get("unequal") else hidden[-1]
        if D == 2:
            # The reverse direction ends at step 0.
            ends = torch.cat([ends[:, : case["H"]], hidden[0, :, case["H"] :]], -1)
        logits = readout(ends)
    else:
        logits = readout(hidden.sum(0) / lengths[:, None])
    counted = batch["mask"] == 1
    if case["loss"] == "cross_entropy":
        loss = functional.cross_entropy(logits[counted], batch["targets"][counted].long())
    else:
        loss = functional.mse_loss(logits[counted], batch["targets"][counted])
    side_by_side = [state.view(L, D, B, -1).transpose(1, 2).reshape(L, B, -1) for state in last]
    return logits, dict(zip(("hn", "cn"), side_by_side)), loss


def nearest_kink(case, rnn, parameters, batch):
    """The smallest absolute pre-activation, after a check that `unroll` does what the module does."""
    x, (h0,), sums = dense(case, batch), start(case, parameters, batch), []
    valid = torch.arange(case["T"])[:, None] < batch["lengths"]
    got = unroll(lambda *arguments: relu_step(*arguments, sums), case, rnn, x, h0, valid)
    for own, module in zip(got, run_padded(rnn, x, h0, batch["lengths"])):
        torch.testing.assert_close(own, module, rtol=1e-12, atol=1e-12)
    return min(values.abs().min().item() for values in sums)


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


def tensors_of(case, rnn, readout, parameters, batch):
    """All tensors of a case, by name."""
    logits, states, loss = forward(case, rnn, readout, parameters, batch)
    loss.backward()
    tensors = copies(parameters) | copies(batch)
    tensors |= copies({"logits": logits} | states | {"loss": loss.reshape(1)})
    differentiated = parameters | {name: batch[name] for name in ("h0", "c0") if name in batch}
    tensors |= copies({key: value.grad for key, value in differentiated.items()}, "grad.")
    # An infinite bound: the norm, and nothing clipped.
    norm = nn.utils.clip_grad_norm_(parameters.values(), float("inf"))
    return tensors | {"norm": norm.reshape(1)}


def write_case(name, seed, case):
    write(name, tensors_of(case, *build(seed, case)), {"case": json.dumps(case)})


def build_small(seed, case):
    """The same as `build`, of f32 numbers, and with max(0, x) away from its kink."""
    while True:
        rnn, readout, parameters, batch = build(seed, case)
        for tensor in (*parameters.values(), *batch.values()):
            if tensor.is_floating_point():
                tensor.data = tensor.data.float().double()
        if case["activation"] != "relu" or nearest_kink(case, rnn, parameters, batch) > KINK_MARGIN:
            return rnn, readout, parameters, batch
        seed += 1000


def write_matrix(seed):
    for file, cases in matrix():
        tensors = {}
        for case in cases:
            tensors |= copies(tensors_of(case, *build_small(seed, case)), case["name"] + "/")
            seed += 1
        write(file, tensors, {"cases": json.dumps(cases)})


def check_export(folder):
    """Parameters that the crate exported, in PyTorch's modules."""
    count = 0
    for file, cases in matrix():
        fixture = load_file(FOLDER / f"{file}.safetensors")
        for case in cases:
            path = folder / file / f"{case['name']}.safetensors"
            prefix = case["name"] + "/"
            batch = {name.removeprefix(prefix): t for name, t in fixture.items() if name.startswith(prefix)}
            exported = load_file(path)
            rnn, readout, parameters = model(case)
            assert exported.keys() == parameters.keys(), f"{path}: {sorted(exported)}"
            for name, tensor in exported.items():
                assert tensor.dtype == torch.float32, f"{path}: {name} is {tensor.dtype}"
                assert torch.equal(tensor.double(), batch[name]), f"{path}: {name} is not the fixture's"
            rnn.load_state_dict({name: exported[name] for name, _ in rnn.named_parameters()})
            readout.load_state_dict({name: exported[name] for name, _ in readout.named_parameters()})
            learned = {name: exported[name].double() for name in ("h_0", "c_0") if name in exported}
            logits, states, _ = forward(case, rnn, readout, parameters | learned, batch)
            for name, got in ({"logits": logits} | states).items():
                torch.testing.assert_close(got.detach(), batch[name], rtol=1e-12, atol=1e-12)
            count += 1
    print(f"{count} exported cases agree")


def write_optimizer(recipe, optimizer_class, arguments, clip, clip_value, seed, case):
    rnn, readout, parameters, batch = build(seed, case)
    tensors = copies(parameters) | copies(batch)
    optimizer = optimizer_class(parameters.values(), **arguments)
    for step in (1, 2, 3):
        optimizer.zero_grad()
        forward(case, rnn, readout, parameters, batch)[2].backward()
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
    if sys.argv[1:]:
        if len(sys.argv) != 3 or sys.argv[1] != "--check-export":
            sys.exit("usage: fixtures.py [--check-export FOLDER]")
        check_export(Path(sys.argv[2]))
        return
    FOLDER.mkdir(parents=True, exist_ok=True)

    cases = []
    for seed, tag, *values in CASES:
        case = dict(zip(COLUMNS, values))
        cases.append((seed, case))
        write_case("_".join(filter(None, values[:5])) + tag, seed, case)
    for recipe in OPTIMIZERS:
        write_optimizer(*recipe, *cases[0])
    write_matrix(100)

    for path in sorted(FOLDER.glob("*.safetensors")):
        with safe_open(path, "pt") as file:
            for name in file.keys():
                assert file.get_tensor(name).isfinite().all(), f"{path.name}: {name}"
        print(f"{path.stat().st_size:7} {path.name}")


if __name__ == "__main__":
    main()
