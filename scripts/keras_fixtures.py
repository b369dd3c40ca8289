#!/usr/bin/env python3
"""Makes tests/fixtures/keras/*.safetensors: arrays and outputs of Keras models, in f64.

The tests only read the files. Those in the repository were made with keras 3.15.1 on
torch 2.15.0 on a CPU. From the repository root:

    pip install -r scripts/requirements.txt keras==3.15.1
    python scripts/keras_fixtures.py

Seeds are fixed. A model is L layers of SimpleRNN, LSTM or GRU of H units, each in a
Bidirectional where the case says so (`merge`: its merge_mode; `gates`: recurrent_activation), and
Dense(O). `backwards` are layers with
go_backwards=True, their outputs turned round to the order of the steps. Tensors of one
case, F64:

    weights.00, weights.01, ...   the arrays of model.get_weights(), in that order
    x [T,B,I]                     the input (Keras has the batch first)
    y                             the output: readout "every" [T,B,O], "last" [B,O]

list_*.safetensors: models of different layers, from `config`, the network as the crate
writes it; of those that read tokens x is [T,B], ids.

Metadata: `case`, JSON with cell, activation (of SimpleRNN, else ""), readout,
bidirectional, bias (use_bias of the recurrent layers), dense_bias, T, B, I, H, O, L.

`python scripts/keras_fixtures.py --check-export FOLDER` writes nothing. It hands the arrays
that the crate wrote, FOLDER/keras/<name>.safetensors, to the models: those of a case here
have to be the fixture's, and to give its outputs; folded_* come with x, with y, the outputs
that the crate computed in f32, and with a `case` of their own.
"""

import json
import os
import sys
from pathlib import Path

os.environ["KERAS_BACKEND"] = "torch"

import keras
import numpy as np
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

FOLDER = Path(__file__).resolve().parent.parent / "tests" / "fixtures" / "keras"
SIZES = dict(T=5, B=3, I=4, H=6, O=3)

# The file's name, and where the case differs from one causal layer with biases, read at every step.
CASES = {
    "simple_rnn_tanh": dict(cell="elman", activation="tanh"),
    "simple_rnn_relu_l2": dict(cell="elman", activation="relu", L=2),
    "lstm": dict(cell="lstm"),
    "lstm_l2_last": dict(cell="lstm", L=2, readout="last"),
    "lstm_no_bias": dict(cell="lstm", bias=False),
    "gru": dict(cell="gru"),
    "gru_l2_last": dict(cell="gru", L=2, readout="last"),
    "gru_no_bias": dict(cell="gru", bias=False, dense_bias=False),
    "simple_rnn_bidirectional": dict(cell="elman", activation="tanh", bidirectional=True),
    "lstm_bidirectional_l2": dict(cell="lstm", bidirectional=True, L=2),
    "gru_bidirectional_l2_last": dict(cell="gru", bidirectional=True, L=2, readout="last"),
    "gru_before": dict(cell="gru", reset="before"),
    "gru_before_bidirectional_l2": dict(cell="gru", reset="before", bidirectional=True, L=2),
}
# Added later: their seeds follow those of all others.
MORE = {
    "gru_backwards_l2": dict(cell="gru", backwards=True, L=2),
    "lstm_backwards_last": dict(cell="lstm", backwards=True, readout="last"),
    "gru_sum_l2": dict(cell="gru", bidirectional=True, merge="sum", L=2),
    "lstm_sum_last": dict(cell="lstm", bidirectional=True, merge="sum", readout="last"),
    "lstm_ave_l2_last": dict(cell="lstm", bidirectional=True, merge="ave", L=2, readout="last"),
    "simple_rnn_mul": dict(cell="elman", activation="tanh", bidirectional=True, merge="mul"),
    "lstm_hard_l2": dict(cell="lstm", gates="hard_sigmoid", L=2),
    "gru_hard_bidirectional": dict(cell="gru", gates="hard_sigmoid", bidirectional=True),
    "gru_before_hard_last": dict(cell="gru", reset="before", gates="hard_sigmoid", readout="last"),
}




def recurrent(cell, hidden, both=False):
    """A recurrent layer as the crate writes it."""
    kind = {"lstm": "lstm", "gru": {"gru": "after_product"}}[cell]
    directions = "bidirectional" if both else "forward"
    record = {"cell": kind, "hidden": hidden, "directions": directions, "bias": True}
    return {"recurrent": record | {"learned_initial_state": False, "forget_bias": None}}


def dense(units, activation, bias=True):
    return {"dense": {"units": units, "activation": activation, "bias": bias}}


EMBEDDING = {"embedding": {"width": 5, "padding": None}}
NORM = {"layer_norm": {"epsilon": 1e-3}}
LISTS = {
    "list_words": ("tokens", [EMBEDDING, recurrent("gru", 4, True), {"pool": "max"}, dense(6, "relu")]),
    "list_sensors": ("dense", [dense(5, "tanh"), recurrent("lstm", 6), NORM, recurrent("gru", 3), dense(4, "gelu")]),
    "list_mean": ("dense", [recurrent("lstm", 4), recurrent("lstm", 3), {"pool": "mean"}, NORM, dense(4, "softplus")]),
}


def build_list(case):
    """The model of a list."""
    config = case["config"]
    tokens = "tokens" in config["input"]
    layers = [keras.Input((case["T"],), dtype="int32") if tokens else keras.Input((case["T"], case["I"]))]
    for layer in config["layers"]:
        ((kind, record),) = layer.items()
        if kind == "embedding":
            layers.append(keras.layers.Embedding(case["I"], record["width"]))
        elif kind == "layer_norm":
            layers.append(keras.layers.LayerNormalization(epsilon=record["epsilon"]))
        elif kind == "dense":
            layers.append(keras.layers.Dense(record["units"], record["activation"], use_bias=record["bias"]))
        elif kind == "dropout":
            layers.append(keras.layers.Dropout(record["rate"]))
        elif kind == "pool":
            pools = {"max": keras.layers.GlobalMaxPooling1D, "mean": keras.layers.GlobalAveragePooling1D}
            layers.append(pools[record]())
        else:
            options = dict(return_sequences=True, use_bias=record["bias"])
            if record["cell"] == "lstm":
                made = keras.layers.LSTM(record["hidden"], **options)
            elif "elman" in record["cell"]:
                made = keras.layers.SimpleRNN(record["hidden"], record["cell"]["elman"], **options)
            else:
                options["reset_after"] = record["cell"]["gru"] == "after_product"
                made = keras.layers.GRU(record["hidden"], **options)
            layers.append(keras.layers.Bidirectional(made) if record["directions"] == "bidirectional" else made)
    layers.append(keras.layers.Dense(case["O"]))
    return keras.Sequential(layers)


def build(case):
    layers = [keras.Input((case["T"], case["I"]))]
    for layer in range(case["L"]):
        last = layer == case["L"] - 1
        options = dict(use_bias=case["bias"], return_sequences=case["readout"] == "every" or not last)
        if "gates" in case:
            options |= dict(recurrent_activation=case["gates"])
        options |= dict(go_backwards=case.get("backwards", False))
        if case["cell"] == "elman":
            recurrent = keras.layers.SimpleRNN(case["H"], activation=case["activation"], **options)
        elif case["cell"] == "gru":
            recurrent = keras.layers.GRU(case["H"], reset_after=case.get("reset") != "before", **options)
        else:
            recurrent = keras.layers.LSTM(case["H"], **options)
        if case["bidirectional"]:
            recurrent = keras.layers.Bidirectional(recurrent, merge_mode=case.get("merge", "concat"))
        layers.append(recurrent)
        if case.get("backwards") and options["return_sequences"]:
            layers.append(keras.layers.Lambda(lambda y: keras.ops.flip(y, axis=1)))
    layers.append(keras.layers.Dense(case["O"], use_bias=case["dense_bias"]))
    return keras.Sequential(layers)


def arrays_of(tensors):
    return [tensors[name] for name in sorted(tensors) if name.startswith("weights.")]


def check_export(folder):
    """Arrays that the crate wrote, in Keras' models."""
    count = 0
    for path in sorted((folder / "keras").glob("*.safetensors")):
        exported = load_file(path)
        arrays, given, tolerance = arrays_of(exported), exported, 2e-6
        if path.stem in CASES | LISTS:
            given = load_file(FOLDER / path.name)
            with safe_open(FOLDER / path.name, "np") as file:
                case = json.loads(file.metadata()["case"])
            if not case.get("dense_bias", True):
                assert not arrays.pop().any(), f"{path}: the bias of the Dense layer is not zero"
            else:
                # See below.
                tolerance = 1e-12
            for got, want in zip(arrays, arrays_of(given), strict=True):
                assert np.array_equal(got.astype("float64"), want), f"{path}: other arrays than the fixture's"
        else:
            with safe_open(path, "np") as file:
                case = json.loads(file.metadata()["case"])
        model = build_list(case) if "config" in case else build(case)
        model.set_weights(arrays)
        y = keras.ops.convert_to_numpy(model(given["x"].swapaxes(0, 1)))
        y = y.swapaxes(0, 1) if case["readout"] == "every" else y
        np.testing.assert_allclose(y, given["y"], rtol=0, atol=tolerance, err_msg=str(path))
        count += 1
    assert count == len(CASES | LISTS) + 5, f"{count} files in {folder / 'keras'}"
    print(f"{count} exported models agree")


def main():
    keras.backend.set_floatx("float64")
    if sys.argv[1:]:
        if len(sys.argv) != 3 or sys.argv[1] != "--check-export":
            sys.exit("usage: keras_fixtures.py [--check-export FOLDER]")
        check_export(Path(sys.argv[2]))
        return
    FOLDER.mkdir(parents=True, exist_ok=True)
    for seed, (name, differs) in enumerate((CASES | LISTS | MORE).items()):
        if name in LISTS:
            source, layers = differs
            config = {"input": {source: SIZES["I"]}, "layers": layers, "outputs": SIZES["O"], "tied": False}
            config |= {"init": "uniform", "seed": 0}
            pooled = any("pool" in layer for layer in layers)
            case = dict(config=config, readout="last" if pooled else "every") | SIZES
        else:
            case = dict(activation="", readout="every", bidirectional=False, bias=True, dense_bias=True, L=1)
            case |= SIZES | differs
        random = np.random.default_rng(seed)
        # What an f32 holds, so that the outputs belong to the very weights that the crate takes.
        draw = lambda shape: random.uniform(-0.8, 0.8, shape).astype("float32").astype("float64")
        model = build_list(case) if name in LISTS else build(case)
        model.set_weights([draw(w.shape) for w in model.get_weights()])
        if name in LISTS and source == "tokens":
            x = random.integers(0, case["I"], (case["B"], case["T"])).astype("float64")
        else:
            x = draw((case["B"], case["T"], case["I"]))
        # A Dense layer without bias computes in f32 on torch, whatever the others do.
        y = keras.ops.convert_to_numpy(model(x)).astype("float64")
        # Some are views with the columns first, which safetensors writes as if they were not.
        tensors = {f"weights.{k:02}": np.ascontiguousarray(w) for k, w in enumerate(model.get_weights())}
        tensors["x"] = np.ascontiguousarray(x.swapaxes(0, 1))
        tensors["y"] = np.ascontiguousarray(y.swapaxes(0, 1)) if case["readout"] == "every" else y
        assert all(t.dtype == np.float64 and np.isfinite(t).all() for t in tensors.values()), name
        path = FOLDER / f"{name}.safetensors"
        save_file(tensors, path, {"case": json.dumps(case)})
        print(f"{path.stat().st_size:7} {path.name}")


if __name__ == "__main__":
    main()
