"""Writes two small networks, an input, and what Captum says of them, for tests/methods.rs and tests/cam.rs.

    pip install torch onnx captum numpy
    python tests/data/methods/make.py
"""

import io
from pathlib import Path

import numpy as np
import torch
from captum.attr import (
    Deconvolution, GuidedBackprop, GuidedGradCam, InputXGradient, IntegratedGradients, LayerAttribution, LayerGradCam, Saliency,
)
from torch import nn

HERE = Path(__file__).parent
torch.manual_seed(1)
net = nn.Sequential(
    nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 6, 3), nn.ELU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
    nn.Linear(6, 3),
).eval()
x = torch.randn(2, 2, 8, 8)


def export(net, file):
    buffer = io.BytesIO()
    torch.onnx.export(net, (x,), buffer, dynamo=False, input_names=["x"], output_names=["y"], dynamic_axes={"x": {0: "n"}})
    (HERE / file).write_bytes(buffer.getvalue())


torch.manual_seed(2)
# Captum's hooks on ReLUs are what makes guided backpropagation and deconvolution of gradients.
relu = nn.Sequential(
    nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 6, 3, padding=1), nn.ReLU(), nn.Flatten(),
    nn.Linear(96, 8), nn.ReLU(), nn.Linear(8, 3),
).eval()
export(net, "network.onnx")
export(relu, "relu.onnx")

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

relu = relu.double()


def cam(layer):
    """Grad-CAM of a layer at the input's size."""
    coarse = LayerGradCam(relu, layer).attribute(x, target, relu_attributions=True)
    return LayerAttribution.interpolate(coarse, x.shape[2:], interpolate_mode="bilinear")


maps = {
    "guided-backprop": GuidedBackprop(relu).attribute(x, target),
    "deconvnet": Deconvolution(relu).attribute(x, target),
    "grad-cam": cam(relu[4]),
    # Before its activation.
    "grad-cam-first": cam(relu[0]),
    "guided-grad-cam": GuidedGradCam(relu, relu[4]).attribute(x, target, interpolate_mode="bilinear"),
}
for name, values in maps.items():
    np.save(HERE / f"relu.{name}.npy", values.detach().numpy())
