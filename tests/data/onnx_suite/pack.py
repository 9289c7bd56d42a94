"""Packs the operator test cases of the ONNX project (its "node" tests) for tests/onnx_suite.rs.

    pip install onnx==1.23.2 numpy
    python pack.py all.pack                      # every case of the installed onnx package
    python pack.py all.pack --folder DIR         # of a folder with TEST/model.onnx and TEST/test_data_set_0
    python pack.py subset.pack --small outcomes.txt  # the small forms that are computed, and one case a refused operator

A pack is a list of entries: length and bytes of a name, length and bytes of a model (lengths: 4 bytes, little endian). The
models hold their test vectors, as those of ../onnx do: initializers called `test/in/NAME` and `test/out/NAME` that no node
reads, in float32.

Cases give everything as an input of the graph, weights and shapes too, which relprop wants as constants. So a case becomes
several entries: CASE as it is, and CASE#NAME for each input NAME, where all other inputs are constants of the model with
the case's values. Entries whose inputs or outputs are no tensors of numbers are kept without vectors: they must be refused.
"""

import argparse
import pathlib
import struct

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

NUMBERS = {
    getattr(TensorProto, name)
    for name in "FLOAT FLOAT16 BFLOAT16 DOUBLE INT8 INT16 INT32 INT64 UINT8 UINT16 UINT32 UINT64 BOOL".split()
}
# Bytes of the largest model in the subset.
LARGEST = 4000
FLOATS = {TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE}


def from_package():
    from onnx.backend.test.case.node import collect_testcases

    for case in collect_testcases(None):
        inputs, outputs = case.data_sets[0]
        yield case.name, case.model, inputs, outputs


def from_folder(folder):
    def tensors(folder, kind, infos):
        for i, info in enumerate(infos):
            if info.type.WhichOneof("value") != "tensor_type":
                yield None
                continue
            yield numpy_helper.to_array(onnx.load_tensor(folder / f"{kind}_{i}.pb"))

    for case in sorted(pathlib.Path(folder).glob("*/model.onnx")):
        model = onnx.load(case)
        data = case.parent / "test_data_set_0"
        inputs = list(tensors(data, "input", model.graph.input))
        outputs = list(tensors(data, "output", model.graph.output))
        yield case.parent.name, model, inputs, outputs


def array(value):
    return numpy_helper.to_array(value) if isinstance(value, TensorProto) else np.asarray(value)


def is_tensor(info, kinds):
    return info.type.WhichOneof("value") == "tensor_type" and info.type.tensor_type.elem_type in kinds


def single(value, name):
    return numpy_helper.from_array(array(value).astype(np.float32), name)


def entries(name, model, inputs, outputs):
    graph = model.graph
    plain = all(is_tensor(i, NUMBERS) for i in [*graph.input, *graph.output])
    if not plain:
        yield name, model
        return
    given = {info.name: value for info, value in zip(graph.input, inputs) if value is not None}
    computed = [info.name for info in graph.input if is_tensor(info, FLOATS) and info.name in given]
    variants = [(name, [info.name for info in graph.input if info.name in given])]
    if len(given) > 1:
        variants += [(f"{name}#{i}", [i]) for i in computed]
    for label, kept in variants:
        copy = onnx.ModelProto()
        copy.CopyFrom(model)
        copy.graph.ClearField("doc_string")
        for info, value in zip(graph.input, inputs):
            if info.name in kept:
                copy.graph.initializer.append(single(value, f"test/in/{info.name}"))
            elif value is not None:
                copy.graph.initializer.append(numpy_helper.from_array(array(value), info.name))
        for info, value in zip(graph.output, outputs):
            copy.graph.initializer.append(single(value, f"test/out/{info.name}"))
        yield label, copy


def wanted(outcomes):
    """One form of each case that is computed, and the first case of each operator that is refused."""
    names, refused = set(), set()
    for line in outcomes.read_text().splitlines():
        name, operators, _, outcome, detail = line.split("\t")
        if outcome == "passed":
            form = detail.split(",")[0]
            names.add(name if form == "-" else f"{name}#{form}")
        elif operators not in refused:
            refused.add(operators)
            names.add(name)
    return names


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("pack", type=pathlib.Path)
    parser.add_argument("--folder")
    parser.add_argument("--small", type=pathlib.Path)
    args = parser.parse_args()
    only = args.small and wanted(args.small)
    count = 0
    with args.pack.open("wb") as pack:
        for case in from_folder(args.folder) if args.folder else from_package():
            for name, model in entries(*case):
                bytes = model.SerializeToString()
                if only is None or (name in only and len(bytes) <= LARGEST):
                    for part in (name.encode(), bytes):
                        pack.write(struct.pack("<I", len(part)) + part)
                    count += 1
    print(f"{count} entries, {args.pack.stat().st_size} bytes")


if __name__ == "__main__":
    main()
