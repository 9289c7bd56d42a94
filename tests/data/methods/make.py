"""Writes a small network, an input, and what Captum says of it, for tests/methods.rs.

    pip install torch onnx captum numpy
    python tests/data/methods/make.py
"""

import io
from pathlib import Path

import numpy as np
import torch
from captum.attr import InputXGradient, IntegratedGradients, Saliency
from torch import nn

HERE = Path(__file__).parent
torch.manual_seed(1)
net = nn.Sequential(
    nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 6, 3), nn.ELU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
    nn.Linear(6, 3),
).eval()
x = torch.randn(2, 2, 8, 8)
buffer = io.BytesIO()
torch.onnx.export(net, (x,), buffer, dynamo=False, input_names=["x"], output_names=["y"], dynamic_axes={"x": {0: "n"}})
(HERE / "network.onnx").write_bytes(buffer.getvalue())

net, x = net.double(), x.double()
target = 1
maps = {
    "gradient": Saliency(net).attribute(x, target, abs=False),
    "absolute-gradient": Saliency(net).attribute(x, target),
    "gradient-times-input": InputXGradient(net).attribute(x, target),
    "integrated-gradients": IntegratedGradients(net, multiply_by_inputs=True).attribute(
        x, torch.full_like(x, 0.5), target, method="riemann_right", n_steps=20
    ),
}
np.save(HERE / "x.npy", x.numpy().astype(np.float32))
for name, values in maps.items():
    np.save(HERE / f"{name}.npy", values.detach().numpy())
