"""Packs reference relevance maps: one folder a network, its maps stacked in one float32 file.

usage: pack.py FROM TO
FROM holds a folder a network with model.onnx, input.npy, output.npy, case.json and one METHOD.npy a method, computed in float64.
float32 keeps each value to 6e-8 of itself, well inside the 1e-6 of the largest that the tests allow.
"""
import json
import os
import shutil
import sys

import numpy as np

source, target = sys.argv[1:3]
for name in sorted(os.listdir(source)):
    folder = os.path.join(source, name)
    if not os.path.isfile(os.path.join(folder, "case.json")):
        continue
    out = os.path.join(target, name)
    os.makedirs(out, exist_ok=True)
    case = json.load(open(os.path.join(folder, "case.json")))
    methods = sorted(f[:-4] for f in os.listdir(folder) if f.endswith(".npy") and f not in ("input.npy", "output.npy"))
    maps = np.stack([np.load(os.path.join(folder, m + ".npy")) for m in methods]).astype(np.float32)
    np.save(os.path.join(out, "maps.npy"), maps)
    for file in ("model.onnx", "input.npy", "output.npy"):
        if os.path.exists(os.path.join(folder, file)):
            shutil.copyfile(os.path.join(folder, file), os.path.join(out, file))
    packed = {"targets": case["targets"], "methods": methods}
    packed.update({k: case[k] for k in ("low", "high") if k in case})
    json.dump(packed, open(os.path.join(out, "case.json"), "w"), indent=1)
