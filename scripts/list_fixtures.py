"""Reference numbers from PyTorch, in f64, of networks that are lists of different layers.

Writes tests/fixtures/lists.safetensors, made as those of fixtures.py, which says how to run
it, what a case's tensors are and how a file of many cases is laid out. What is different:

    config                    in `cases`: the network as the crate writes it, from which
                              the modules are made; there are no cell, H and layers
    lstm.weight_ih_l0 …       parameters by module: embedding, rnn, lstm, gru, dense,
                              norm and head.0, with a number from the second of a kind on; a head
                              that is tied to the embedding has a bias alone
    readout                   "every" [T,B,O], or "pooled" [B,O]
    targets.NAME, mask.NAME,  of a head of that name; its loss is in turn the mean squared error
    logits.NAME               times 0.75 and the cross entropy times 1.5, and `loss` the sum of all
    column.NAME               what is read of a column: [T,B], or [T,B,·] numbers
    h0, c0, hn, cn            of all recurrent layers, one behind the other, each [B,D·H], h
                              of those with a projection [B,D·P]; c of those that are LSTMs

Writes tests/fixtures/modules/sequential.safetensors as well: the state_dict of an nn.Sequential with
the parameters of some of these cases, in f32, under the case's name and a slash. Functions,
dropout and pools are modules of it, too. Metadata: `cases`, a JSON list of name and config,
which is that of the case and has the dropout.

`python scripts/list_fixtures.py --check-export FOLDER` writes nothing. It loads what the
crate exported of every case, strictly, into modules of those names and compares the values
and the outputs: FOLDER/lists/<case>.safetensors; <case>.sequential.safetensors into an
nn.Sequential; <case>.no_bias.safetensors, whose read-out's bias was set to zero and left
out, with an nn.Linear that has none.
"""

import json
import sys
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional

from fixtures import SIZES, copies, draw_lengths, run_padded, write

T, B, I, O = (SIZES[size] for size in "TBIO")
# How near the sum under a max(0, x), or the second of a maximum, may come.
KINK_MARGIN = 1e-3
FUNCTIONS = {
    "tanh": torch.tanh,
    "relu": torch.relu,
    "sigmoid": torch.sigmoid,
    "gelu": functional.gelu,
    "softplus": functional.softplus,
    "identity": lambda x: x,
}
FUNCTION_MODULES = {"tanh": nn.Tanh, "relu": nn.ReLU, "sigmoid": nn.Sigmoid, "gelu": nn.GELU, "softplus": nn.Softplus}


def recurrent(cell, hidden, both=False, bias=True, projection=None):
    kind = {"rnn": {"elman": "tanh"}, "lstm": "lstm", "gru": {"gru": "after_product"}}[cell]
    return {
        "recurrent": {
            "cell": kind,
            "hidden": hidden,
            "directions": "bidirectional" if both else "forward",
            "bias": bias,
            "learned_initial_state": False,
            "forget_bias": None,
        }
        | ({"projection": projection} if projection else {})
    }


def h_width(record):
    """The width of a recurrent layer's h, both directions side by side."""
    return record.get("projection", record["hidden"]) * (1 + (record["directions"] == "bidirectional"))


def dense(units, activation, bias=True):
    return {"dense": {"units": units, "activation": activation, "bias": bias}}


def embedding(width, padding=None):
    return {"embedding": {"width": width, "padding": padding}}


def norm(epsilon=1e-5):
    return {"layer_norm": {"epsilon": epsilon}}


def tokens_beside(name, count, width, padding=None):
    return {"name": name, "input": {"tokens": count}, "embedding": {"width": width, "padding": padding}}


def numbers_beside(name, count):
    return {"name": name, "input": {"dense": count}, "embedding": None}


def pool(kind):
    return {"pool": kind}


def dropout(rate):
    return {"dropout": {"rate": rate, "over_time": False}}


# The name, the input, the loss, whether lengths are unequal, and the layers.
CASES = [
    ("sizes", "tokens", "cross_entropy", False, [recurrent("lstm", 8), recurrent("lstm", 3)]),
    ("cells", "dense", "mse", True, [recurrent("gru", 4), recurrent("rnn", 5), recurrent("lstm", 3)]),
    (
        "stacks",
        "tokens",
        "mse",
        True,
        [recurrent("lstm", 3, True), recurrent("lstm", 3, True), recurrent("gru", 4, False, False), pool("last")],
    ),
    (
        "both_ways_below_one",
        "dense",
        "cross_entropy",
        True,
        [recurrent("gru", 3, True), recurrent("lstm", 5), pool("mean"), dense(6, "relu")],
    ),
    ("head", "dense", "cross_entropy", False, [recurrent("rnn", 6), dense(5, "tanh"), dense(4, "sigmoid", False)]),
    (
        "below",
        "dense",
        "mse",
        False,
        [dense(5, "gelu"), recurrent("gru", 4), dense(3, "softplus"), recurrent("gru", 4)],
    ),
    ("embedding", "tokens", "cross_entropy", True, [dense(5, "identity", False), recurrent("lstm", 4)]),
    (
        "maximum",
        "tokens",
        "cross_entropy",
        True,
        [dense(4, "identity", False), recurrent("gru", 5, True), pool("max"), dense(6, "gelu")],
    ),
    ("first", "dense", "mse", True, [recurrent("lstm", 4, True), dense(5, "relu"), pool("first"), dense(3, "tanh")]),
    ("last_row", "dense", "cross_entropy", True, [recurrent("gru", 4, True), dense(6, "softplus"), pool("last")]),
    ("table", "tokens", "cross_entropy", True, [embedding(5, 2), recurrent("gru", 4, True), pool("mean")]),
    ("tied", "tokens", "cross_entropy", True, [embedding(3), recurrent("lstm", 5), recurrent("lstm", 3)]),
    ("tied_above", "tokens", "mse", False, [embedding(4, 0), recurrent("gru", 5), dense(4, "tanh", False)]),
    (
        "norms",
        "dense",
        "cross_entropy",
        True,
        [norm(), recurrent("lstm", 5), norm(0.1), recurrent("gru", 4, True), pool("max"), norm(1e-3), dense(3, "gelu")],
    ),
    ("ends", "tokens", "mse", True, [recurrent("rnn", 4), recurrent("gru", 3, True), pool("last"), dense(4, "gelu")]),
    (
        "heads_of_a_trunk",
        "tokens",
        "cross_entropy",
        True,
        [embedding(4), recurrent("lstm", 5), recurrent("lstm", 5), dense(4, "tanh")],
        [("value", 4, 1), ("tag", 3, 3), ("low", 1, 2)],
    ),
    (
        "heads_around_a_pool",
        "dense",
        "mse",
        True,
        [recurrent("gru", 4, True), dense(5, "gelu"), pool("mean"), norm(), dense(3, "tanh")],
        [("tags", 1, 2), ("kind", 3, 4), ("below", 2, 1), ("norm", 4, 3)],
    ),
    ("heads_of_last", "dense", "mse", True, [recurrent("rnn", 4), pool("last")], [("pool", 2, 1), ("steps", 1, 3)]),
    (
        "beside_words",
        "tokens",
        "cross_entropy",
        True,
        [embedding(4, 1), norm(), recurrent("gru", 5, True)],
        [("low", 1, 2)],
        [tokens_beside("kind", 6, 3, 2), numbers_beside("shape", 2), tokens_beside("end", 9, 2)],
    ),
    (
        "beside_numbers",
        "dense",
        "mse",
        True,
        [recurrent("lstm", 5), pool("max")],
        [],
        [numbers_beside("more", 3), tokens_beside("key", 4, 2)],
    ),
    (
        "projected",
        "dense",
        "cross_entropy",
        True,
        [recurrent("lstm", 5, True, projection=3), recurrent("lstm", 5, True, projection=3), dense(4, "tanh")],
    ),
    (
        "projected_below",
        "tokens",
        "mse",
        True,
        [recurrent("lstm", 6, projection=2), recurrent("gru", 4), recurrent("lstm", 4, True, False, 3), pool("last")],
    ),
]

# Where dropout stands in an nn.Sequential of a case: above so many of its layers.
SEQUENTIAL = {"stacks": [2, 4], "below": [1], "table": [1, 3], "tied": [], "norms": [1, 7]}


class Sides(NamedTuple):
    """What stands beside the list: heads (the record, the module, the loss and its weight) and columns' tables."""

    heads: list
    tables: dict


def column_width(record):
    return record["embedding"]["width"] if record["embedding"] else record["input"]["dense"]


def modules(config):
    """The modules in their order: the name, the module and the record."""
    beside, tables = sum(column_width(record) for record in config.get("columns", [])), {}
    for record in config.get("columns", []):
        if record["embedding"]:
            count, table = record["input"]["tokens"], record["embedding"]
            tables[record["name"]] = nn.Embedding(count, table["width"], table["padding"])
    width, made, kinds = I + (beside if "dense" in config["input"] else 0), [], {}
    for layer in config["layers"]:
        ((kind, record),) = layer.items()
        if kind in ("pool", "dropout"):
            made.append((None, None, layer))
            continue
        if kind == "embedding":
            width = record["width"] + beside
            made.append((kind, (kind, I, record, 1), layer))
            continue
        if kind == "recurrent":
            cell = record["cell"] if record["cell"] == "lstm" else next(iter(record["cell"]))
            kind = "rnn" if cell == "elman" else cell
        if kind == "layer_norm":
            kind = "norm"
        if made and made[-1][2] == layer and kind not in ("dense", "norm"):
            # One module of a layer more.
            name, module, _ = made[-1]
            made[-1] = (name, module[:-1] + (module[-1] + 1,), layer)
            width = h_width(record)
            continue
        number = kinds.get(kind, 0)
        kinds[kind] = number + 1
        made.append((kind if number == 0 else f"{kind}_{number}", (kind, width, record, 1), layer))
        if kind == "dense":
            width = record["units"]
        elif kind != "norm":
            width = h_width(record)
    for at, (name, module, layer) in enumerate(made):
        if module is None:
            continue
        kind, inputs, record, layers = module
        if kind == "embedding":
            made[at] = (name, nn.Embedding(inputs, record["width"], record["padding"]), layer)
        elif kind == "norm":
            made[at] = (name, nn.LayerNorm(inputs, record["epsilon"]), layer)
        elif kind == "dense":
            made[at] = (name, nn.Linear(inputs, record["units"], bias=record["bias"]), layer)
        else:
            make = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}[kind]
            options = {"bias": record["bias"], "bidirectional": record["directions"] == "bidirectional"}
            if "projection" in record:
                options["proj_size"] = record["projection"]
            made[at] = (name, make(inputs, record["hidden"], layers, **options), layer)
    head = nn.Linear(width, config["outputs"])
    # Behind which layer each stands, its width, its module and its loss.
    heads = []
    for at, record in enumerate(config.get("heads", [])):
        below = I + (beside if "dense" in config["input"] else 0)
        for layer in config["layers"][: record["reads"]]:
            ((kind, options),) = layer.items()
            if kind == "recurrent":
                below = h_width(options)
            if kind == "embedding":
                below = options["width"] + beside
            below = options["units"] if kind == "dense" else below
        heads.append((record, nn.Linear(below, record["outputs"]), [("mse", 0.75), ("cross_entropy", 1.5)][at % 2]))
    if config["tied"]:
        head.weight = made[0][1].weight
    return made, head, Sides(heads, tables)


def parameters_of(made, head, sides):
    named = [(name, module) for name, module, _ in made if module is not None] + [("head.0", head)]
    named += [(f"head.{record['name']}", module) for record, module, _ in sides.heads]
    named += [(f"column.{name}", module) for name, module in sides.tables.items()]
    all_of = {f"{name}.{key}": value for name, module in named for key, value in module.named_parameters()}
    if head.weight is all_of.get("embedding.weight"):
        del all_of["head.0.weight"]
    return all_of


def build(seed, case):
    generator = torch.Generator().manual_seed(seed)
    made, head, sides = modules(case["config"])
    parameters = parameters_of(made, head, sides)
    for parameter in parameters.values():
        nn.init.uniform_(parameter, -0.6, 0.6, generator=generator)
    lengths = draw_lengths(case, generator) if case["unequal"] else torch.full((B,), T, dtype=torch.int32)
    valid = torch.arange(T)[:, None] < lengths
    batch = {"lengths": lengths}
    if case["input"] == "tokens":
        batch["tokens"] = torch.randint(I, (T, B), generator=generator, dtype=torch.int32)
    else:
        batch["x"] = torch.randn(T, B, I, generator=generator)
    # What is started from: of each module [L·D, B, H], of the file side by side.
    states = []
    for _, module, _ in made:
        if isinstance(module, nn.RNNBase):
            count = module.num_layers * (1 + module.bidirectional)
            widths = [module.proj_size or module.hidden_size]
            widths += [module.hidden_size] if isinstance(module, nn.LSTM) else []
            drawn = [nn.init.uniform_(torch.empty(count, B, width), -1, 1, generator=generator) for width in widths]
            states.append([state.float().double().requires_grad_() for state in drawn])
    positions, outputs = (T, B) if case["readout"] == "every" else (B,), case["O"]
    if case["loss"] == "cross_entropy":
        batch["targets"] = torch.randint(outputs, positions, generator=generator, dtype=torch.int32)
    else:
        batch["targets"] = torch.randn(*positions, outputs, generator=generator)
    mask = valid.double() if case["readout"] == "every" else torch.ones(positions)
    mask.view(-1)[0] = 0
    batch["mask"] = mask
    layers = case["config"]["layers"]
    for record in case["config"].get("columns", []):
        name, kind = f"column.{record['name']}", record["input"]
        if "tokens" in kind:
            batch[name] = torch.randint(kind["tokens"], (T, B), generator=generator, dtype=torch.int32)
        else:
            batch[name] = torch.randn(T, B, kind["dense"], generator=generator)
    for record, _, (loss, _) in sides.heads:
        pooled = any("pool" in layer for layer in layers[: record["reads"]])
        name, outputs, positions = record["name"], record["outputs"], (B,) if pooled else (T, B)
        if loss == "cross_entropy":
            targets = torch.randint(outputs, positions, generator=generator, dtype=torch.int32)
        else:
            targets = torch.randn(*positions, outputs, generator=generator)
        batch[f"targets.{name}"] = targets
        mask = torch.ones(positions) if pooled else valid.double()
        mask.view(-1)[1] = 0
        batch[f"mask.{name}"] = mask
    for tensor in (*parameters.values(), *batch.values()):
        if tensor.is_floating_point():
            tensor.data = tensor.data.float().double()
    return made, head, sides, parameters, states, batch


def side_by_side(module, state):
    """[L·D, B, H] as [L, B, D·H], flat."""
    directions = 1 + module.bidirectional
    return state.view(module.num_layers, directions, B, -1).transpose(1, 2).reshape(-1)


def mean_loss(kind, logits, targets, mask):
    counted = mask == 1
    if kind == "cross_entropy":
        return functional.cross_entropy(logits[counted], targets[counted].long())
    return functional.mse_loss(logits[counted], targets[counted])


def forward(case, made, head, sides, states, batch):
    """The logits, the final states, the loss and the distance to the nearest kink."""
    lengths, margin = batch["lengths"].long(), float("inf")
    valid = torch.arange(T)[:, None] < lengths

    def beside(rows):
        columns = []
        for record in case["config"].get("columns", []):
            read, table = batch[f"column.{record['name']}"], sides.tables.get(record["name"])
            columns.append(read if table is None else table(read.long()))
        return torch.cat([rows, *columns], -1)

    if case["input"] == "tokens":
        rows = functional.one_hot(batch["tokens"].long(), I).double()
    else:
        rows = beside(batch["x"])
    given, finals, above = iter(states), [], None
    read, layers = {}, 0
    for _, module, layer in made:
        layers += module.num_layers if isinstance(module, nn.RNNBase) else 1
        if isinstance(module, nn.RNNBase):
            state = next(given)
            start = tuple(state) if len(state) == 2 else state[0]
            rows, last = run_padded(module, rows, start, batch["lengths"])
            finals.append((module, last if isinstance(last, tuple) else (last,)))
            above = module
        elif isinstance(module, nn.Embedding):
            rows, above = beside(module(batch["tokens"].long())), None
        elif isinstance(module, nn.LayerNorm):
            rows, above = module(rows), None
        elif isinstance(module, nn.Linear):
            sums, activation = module(rows), layer["dense"]["activation"]
            if activation == "relu":
                counted = sums[valid] if sums.dim() == 3 else sums
                margin = min(margin, counted.abs().min().item())
            rows, above = FUNCTIONS[activation](sums), None
        else:
            last = rows[lengths - 1, torch.arange(B)]
            if layer["pool"] == "last" and above is not None and above.bidirectional:
                # Of either direction what it ends with.
                width = above.proj_size or above.hidden_size
                last = torch.cat([last[:, :width], rows[0, :, width:]], -1)
            hidden = rows.masked_fill(~valid[:, :, None], float("-inf"))
            if layer["pool"] == "max":
                two = hidden.topk(2, 0).values
                margin = min(margin, (two[0] - two[1]).min().item())
            rows = {
                "last": lambda: last,
                "first": lambda: rows[0],
                "mean": lambda: torch.where(valid[:, :, None], rows, 0).sum(0) / lengths[:, None],
                "max": lambda: hidden.amax(0),
            }[layer["pool"]]()
        # A module of several layers is read above the last alone.
        read[layers] = rows
    logits = head(rows)
    if case["readout"] == "every":
        logits = torch.where(valid[:, :, None], logits, 0)
    loss, all_logits = mean_loss(case["loss"], logits, batch["targets"], batch["mask"]), {"logits": logits}
    for record, module, (kind, weight) in sides.heads:
        name, of_head = record["name"], module(read[record["reads"]])
        loss = loss + weight * mean_loss(kind, of_head, batch[f"targets.{name}"], batch[f"mask.{name}"])
        if of_head.dim() == 3:
            of_head = torch.where(valid[:, :, None], of_head, 0)
        all_logits[f"logits.{name}"] = of_head
    return all_logits, finals, loss, margin


def flat(of, kind):
    """h, or c, of all modules one behind the other."""
    parts = [side_by_side(module, states[kind]) for module, states in of if kind < len(states)]
    return torch.cat(parts) if parts else None


def draw(seed, case):
    """What `build` makes and what `forward` makes of it, away from kinks."""
    while True:
        built = build(seed, case)
        made, head, sides, _, states, batch = built
        *results, margin = forward(case, made, head, sides, states, batch)
        if margin > KINK_MARGIN:
            return *built, *results
        seed += 1000


def tensors_of(seed, case):
    made, _, _, parameters, states, batch, logits, finals, loss = draw(seed, case)
    loss.backward()
    recurrences = [module for _, module, _ in made if isinstance(module, nn.RNNBase)]
    given = list(zip(recurrences, states))
    slopes = [(module, [state.grad for state in of]) for module, of in given]
    tensors = copies(parameters) | copies(batch)
    for kind, name in enumerate("hc"):
        for prefix, of in ((f"{name}0", given), (f"{name}n", finals), (f"grad.{name}0", slopes)):
            values = flat(of, kind)
            if values is not None:
                tensors |= copies({prefix: values})
    tensors |= copies(logits | {"loss": loss.reshape(1)})
    tensors |= copies({key: value.grad for key, value in parameters.items()}, "grad.")
    norm = nn.utils.clip_grad_norm_(parameters.values(), float("inf"))
    return tensors | {"norm": norm.reshape(1)}


class Pool(nn.Module):
    """A module without parameters, in the place of the pool."""


def sequential(made, head, sides):
    """An nn.Sequential as people write it, with a module for everything."""
    stack = []
    for _, module, layer in made:
        ((kind, record),) = layer.items()
        stack.append(module or (nn.Dropout(record["rate"]) if kind == "dropout" else Pool()))
        if kind == "dense" and record["activation"] != "identity":
            stack.append(FUNCTION_MODULES[record["activation"]]())
    stack = nn.Sequential(*stack, head)
    if sides.heads:
        stack.head = nn.ModuleDict({record["name"]: module for record, module, _ in sides.heads})
    if sides.tables:
        stack.column = nn.ModuleDict(sides.tables)
    return stack


def named(made, head, sides):
    """A module that has them under the crate's names."""
    whole = nn.Module()
    for name, module, _ in made:
        if module is not None:
            whole.add_module(name, module)
    whole.head = nn.ModuleDict({"0": head} | {record["name"]: module for record, module, _ in sides.heads})
    whole.column = nn.ModuleDict(sides.tables)
    return whole


def write_sequential(cases):
    tensors, written = {}, []
    for seed, case in cases:
        above = SEQUENTIAL.get(case["name"])
        if above is None:
            continue
        layers = list(case["config"]["layers"])
        for at in reversed(above):
            layers.insert(at, dropout(0.25))
        config = case["config"] | {"layers": layers}
        made, head, sides = modules(config)
        drawn = draw(seed, case)[3]
        with torch.no_grad():
            for name, parameter in parameters_of(made, head, sides).items():
                parameter.copy_(drawn[name])
        state = {f"{case['name']}/{name}": t.float() for name, t in sequential(made, head, sides).state_dict().items()}
        tensors |= copies(state)
        written.append({"name": case["name"], "config": config})
    write("modules/sequential", tensors, {"cases": json.dumps(written)})


def check_export(folder, cases):
    """Parameters that the crate exported, in PyTorch's modules."""
    count = 0
    for seed, case in cases:
        made, head, sides, parameters, states, batch, logits, finals, _ = draw(seed, case)
        drawn = {name: parameter.detach().clone() for name, parameter in parameters.items()}

        def check(kind, make, head, logits):
            path = folder / "lists" / f"{case['name']}{kind}.safetensors"
            exported = load_file(path)
            assert all(tensor.dtype == torch.float32 for tensor in exported.values()), path
            for parameter in parameters_of(made, head, sides).values():
                nn.init.constant_(parameter, float("nan"))
            make(made, head, sides).load_state_dict(exported, strict=True)
            for name, parameter in parameters_of(made, head, sides).items():
                assert torch.equal(parameter, drawn[name]), f"{path}: {name} is not the fixture's"
            got, ends, *_ = forward(case, made, head, sides, states, batch)
            for name, want in logits.items():
                torch.testing.assert_close(got[name], want, rtol=1e-12, atol=1e-12)
            for (_, got), (_, want) in zip(ends, finals, strict=True):
                torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-12)

        check("", named, head, logits)
        check(".sequential", sequential, head, logits)
        nn.init.zeros_(head.bias)
        logits = forward(case, made, head, sides, states, batch)[0]
        bare = nn.Linear(head.in_features, head.out_features, bias=False)
        if case["config"]["tied"]:
            bare.weight = head.weight
        check(".no_bias", named, bare, logits)
        count += 1
    print(f"{count} exported cases agree")


def main():
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)
    cases = []
    for seed, (name, source, loss, unequal, layers, *sides) in enumerate(CASES):
        pooled = any("pool" in layer for layer in layers)
        config = {
            "input": {source: I},
            "layers": layers,
            "outputs": I if "tied" in name else O,
            "tied": "tied" in name,
            "init": "uniform",
            "seed": 0,
        }
        heads, columns = (*sides, [], [])[:2]
        if heads:
            records = ({"name": name, "reads": reads, "outputs": outputs} for name, reads, outputs in heads)
            config["heads"] = list(records)
        if columns:
            config["columns"] = columns
        case = {"name": name, "config": config, "input": source, "readout": "pooled" if pooled else "every"}
        case |= {"loss": loss, "unequal": unequal, "T": T, "B": B, "I": I, "O": config["outputs"]}
        cases.append((300 + seed, case))
    if sys.argv[1:]:
        if len(sys.argv) != 3 or sys.argv[1] != "--check-export":
            sys.exit("usage: list_fixtures.py [--check-export FOLDER]")
        check_export(Path(sys.argv[2]), cases)
        return
    tensors = {}
    for seed, case in cases:
        tensors |= copies(tensors_of(seed, case), case["name"] + "/")
    assert all(tensor.isfinite().all() for tensor in tensors.values() if tensor.is_floating_point())
    write("lists", tensors, {"cases": json.dumps([case for _, case in cases])})
    write_sequential(cases)
    print(f"{len(cases)} cases")


if __name__ == "__main__":
    main()
