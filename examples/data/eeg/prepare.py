"""Makes what the example reads of the package openspindlenet 0.1.1: the network with its weights in 16 bits, and the sample
recording as the network wants it.

    pip download --no-deps openspindlenet==0.1.1
    python prepare.py openspindlenet-0.1.1-py3-none-any.whl

Needs the packages of ../requirements.txt.
"""
import sys
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pywt
from onnx.utils import Extractor

HERE = Path(__file__).parent
sys.path.append(str(HERE.parent))
from halve import halve  # noqa: E402

RATE = 250
SCALES = np.geomspace(135, 270, num=15)  # of Shannon wavelets: 18.6 Hz to 9.3 Hz


def standard(rows):
    """Rows with mean 0 and deviation 1."""
    return (rows - rows.mean(-1, keepdims=True)) / rows.std(-1, keepdims=True)


with zipfile.ZipFile(sys.argv[1]) as wheel:
    model = onnx.load_from_string(wheel.read("openspindlenet/models/spindle-detector-eeg.onnx"))
    signal = np.array(wheel.read("openspindlenet/data/eeg_sample.txt").decode().split(), float)

# The example explains detections alone: the nodes that only the other output needs are left out.
model = Extractor(model).extract_model(["raw_signal", "spectrogram"], ["detection"])
print(f"weights move by {halve(model):.1e} of the largest of their tensor")
onnx.checker.check_model(model)
onnx.save(model, HERE / "eeg.onnx")

bands, frequencies = pywt.cwt(signal, SCALES, "shan6-13", sampling_period=1 / RATE)
print("frequencies of the rows:", ", ".join(f"{f:.1f}" for f in frequencies))
np.save(HERE / "signal.npy", standard(signal[None, None]).astype(np.float16))
np.save(HERE / "scalogram.npy", standard(np.abs(bands))[None].astype(np.float16))
