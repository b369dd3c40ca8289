"""Writes tests/fixtures/containers/: one small file of each format that is no safetensors file but often taken for one.

The crate's tests (tests/formats/checkpoint/containers.rs) check that each is refused by its name.

    pip install numpy==2.4.6 h5py==3.16.0 onnx==1.23.2
    python scripts/container_fixtures.py

`torch.pt` and `model.keras` have the members that torch.save (2.15) and Keras (3.15) write, in their order, written by
zipfile; `torch_old.pt` is how torch.save began before 1.6. Neither PyTorch nor Keras is needed to make them again.
"""

import gzip
import pickle
import zipfile
from pathlib import Path

import h5py
import numpy
import onnx
from onnx import TensorProto, helper

FOLDER = Path(__file__).parent.parent / "tests" / "fixtures" / "containers"


def main():
    FOLDER.mkdir(parents=True, exist_ok=True)
    weights = {"weight_hh_l0": numpy.ones((2, 2), numpy.float32)}
    array = weights["weight_hh_l0"]

    numpy.savez(FOLDER / "weights.npz", **weights)
    numpy.save(FOLDER / "weights.npy", array)
    with h5py.File(FOLDER / "weights.h5", "w") as file:
        file["weight_hh_l0"] = array
    for protocol in (2, 4, 5):
        (FOLDER / f"weights_{protocol}.pkl").write_bytes(pickle.dumps({"a": [1.0]}, protocol))
    (FOLDER / "weights.safetensors.gz").write_bytes(gzip.compress(bytes(64), mtime=0))
    with zipfile.ZipFile(FOLDER / "weights.zip", "w") as archive:
        archive.writestr("readme.txt", "nothing")

    with zipfile.ZipFile(FOLDER / "model.keras", "w") as archive:
        archive.writestr("metadata.json", '{"keras_version": "3.15.1"}')
        archive.writestr("config.json", '{"module": "keras", "class_name": "Sequential"}')
        archive.writestr("model.weights.h5", (FOLDER / "weights.h5").read_bytes()[:64])

    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])],
    )
    onnx.save(helper.make_model(graph), FOLDER / "bare.onnx")
    # PyTorch's exporter names itself.
    onnx.save(helper.make_model(graph, producer_name="pytorch", producer_version="2.15.0"), FOLDER / "pytorch.onnx")

    with zipfile.ZipFile(FOLDER / "torch.pt", "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({}, 2))
        archive.writestr("archive/byteorder", "little")
        archive.writestr("archive/version", "3\n")
    magic, version = 0x1950A86A20F9469CFC6C, 1001
    (FOLDER / "torch_old.pt").write_bytes(b"".join(pickle.dumps(part, 2) for part in (magic, version, {})))


main()
