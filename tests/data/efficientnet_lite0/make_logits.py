"""Writes logits.npy: what ONNX Runtime says to chelsea.png and coffee.png, in float32, two rows of 1000 values.

    python3 make_logits.py EFFICIENTNET_LITE0.onnx      (the file that make_onnx.py writes)

Needs numpy, onnxruntime and pillow. The photos have the network's size already, so that nothing is resampled.
"""

import pathlib
import sys

import numpy as np
import onnxruntime
from PIL import Image

folder = pathlib.Path(__file__).parent
photos = [np.asarray(Image.open(folder / name).convert("RGB")) for name in ("chelsea.png", "coffee.png")]
batch = ((np.stack(photos).astype(np.float32) - 127) / 128).transpose(0, 3, 1, 2)
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
np.save(folder / "logits.npy", session.run(None, {"x": np.ascontiguousarray(batch)})[0])
