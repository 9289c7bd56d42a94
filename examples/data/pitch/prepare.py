"""Stores the weights of CREPE tiny, as an ONNX file with 32 bits, in 16.

    python prepare.py pitch_crepe_tiny.onnx

Needs the packages of ../requirements.txt.
"""
import sys
from pathlib import Path

import onnx

HERE = Path(__file__).parent
sys.path.append(str(HERE.parent))
from halve import halve  # noqa: E402

model = onnx.load(sys.argv[1])
print(f"weights move by {halve(model):.1e} of the largest of their tensor")
onnx.checker.check_model(model)
onnx.save(model, HERE / "pitch.onnx")
