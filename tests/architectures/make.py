"""Builds the networks of tests/architectures.rs: NAME.onnx, an input NAME.x.npy, and NAME.y.npy, ONNX Runtime's output.

    pip install -r tests/architectures/requirements.txt
    python tests/architectures/make.py small tests/data/architectures       # the narrow ones, which are committed
    python tests/architectures/make.py all FOLDER                           # torchvision and timm, both exporters
    python tests/architectures/make.py all FOLDER resnet50 convnext_tiny    # some of them

Weights are random, and so are the statistics of batch normalisation: what is tested is the arithmetic of the architecture.
"""

import io
import sys
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
import torchvision.models as tv
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from tiny import TINY

warnings.filterwarnings("ignore")


def randomised(net, x):
    net.eval()(x)  # Lazy layers learn their sizes.
    for layer in net.modules():
        if isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)):
            layer.running_mean.normal_(0, 0.1)
            layer.running_var.uniform_(0.5, 1.5)
            layer.weight.data.uniform_(0.5, 1.5)
            layer.bias.data.normal_(0, 0.1)
    return net.eval()


class Field(nn.Module):
    """One entry of what a network gives as a dictionary."""

    def __init__(self, net, name):
        super().__init__()
        self.net, self.name = net, name

    def forward(self, x):
        return self.net(x)[self.name]


class RawHead(nn.Module):
    """A detector up to its raw head: the class logits of every anchor, before boxes are decoded and chosen."""

    def __init__(self, net):
        super().__init__()
        self.backbone, self.head = net.backbone, net.head

    def forward(self, x):
        return self.head(list(self.backbone(x).values()))["cls_logits"]


class GroupNet(nn.Module):
    """Group and instance normalisation, SiLU, pixel shuffle."""

    def __init__(self):
        super().__init__()
        self.a, self.norm = nn.Conv2d(3, 8, 3, padding=1), nn.GroupNorm(2, 8)
        self.b, self.instance = nn.Conv2d(8, 16, 3, stride=2, padding=1), nn.InstanceNorm2d(16, affine=True)
        self.head = nn.Linear(4, 5)

    def forward(self, x):
        x = nn.functional.silu(self.norm(self.a(x)))
        x = nn.functional.pixel_shuffle(nn.functional.gelu(self.instance(self.b(x))), 2)
        return self.head(x.mean((2, 3)))


def small():
    from torchvision.models.convnext import CNBlockConfig, ConvNeXt
    from torchvision.models.densenet import DenseNet
    from torchvision.models.mobilenetv2 import MobileNetV2
    from torchvision.models.mobilenetv3 import InvertedResidualConfig, MobileNetV3
    from torchvision.models.regnet import BlockParams, RegNet
    from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet
    from torchvision.models.shufflenetv2 import ShuffleNetV2

    class Narrow(ResNet):
        """A ResNet of two stages with a quarter of the usual channels or less."""

        def __init__(self, block, **options):
            super().__init__(block, [1, 1, 1, 1], num_classes=10, **options)
            self.layer3 = self.layer4 = nn.Identity()
            self.inplanes = 16
            self.conv1, self.bn1 = nn.Conv2d(3, 16, 7, 2, 3, bias=False), nn.BatchNorm2d(16)
            self.layer1 = self._make_layer(block, 16, 1)
            self.layer2 = self._make_layer(block, 16, 2, stride=2)
            self.fc = nn.Linear(16 * block.expansion, 10)

    image = (1, 3, 32, 32)
    config = lambda *a: InvertedResidualConfig(*a, 1.0)
    v3 = [config(8, 3, 16, 8, True, "RE", 2, 1), config(8, 5, 24, 8, True, "HS", 1, 1)]
    return {
        "resnet": (lambda: Narrow(BasicBlock), image),
        "resnext": (lambda: Narrow(Bottleneck, groups=4, width_per_group=16), image),
        "densenet": (lambda: DenseNet(4, (2, 2), 8, num_classes=10), image),
        "mobilenet_v2": (lambda: MobileNetV2(10, 0.1, [[1, 16, 1, 1], [4, 16, 2, 2]]), image),
        "mobilenet_v3": (lambda: MobileNetV3(v3, 24, 10), image),
        "shufflenet": (lambda: ShuffleNetV2([1, 2, 1], [8, 16, 24, 32, 32], 10), image),
        "regnet": (lambda: RegNet(BlockParams([1, 1], [8, 16], [8, 8], [1.0, 1.0], [2, 2], 0.25), 10, 8), image),
        "convnext": (lambda: ConvNeXt([CNBlockConfig(8, 12, 1), CNBlockConfig(12, None, 1)], 0.0, num_classes=10), image),
        "group_norm": (lambda: GroupNet(), (1, 3, 12, 12)),
        **TINY,
    }


def large():
    names = """alexnet vgg11 vgg16 vgg16_bn vgg19 resnet18 resnet50 resnext50_32x4d wide_resnet50_2 densenet121 squeezenet1_0
        squeezenet1_1 shufflenet_v2_x1_0 mobilenet_v2 mobilenet_v3_small mobilenet_v3_large mnasnet1_0 efficientnet_b0
        efficientnet_v2_s regnet_x_400mf regnet_y_400mf convnext_tiny""".split()
    # Those with a dense layer on a fixed number of pixels need their own size; others are smaller here.
    side = lambda name: 224 if name.startswith(("alexnet", "vgg")) else 96
    nets = {n: (lambda n=n: getattr(tv, n)(weights=None), (1, 3, side(n), side(n))) for n in names}
    plain = dict(weights=None, init_weights=True, aux_logits=False)
    nets["googlenet"] = (lambda: tv.googlenet(**plain), (1, 3, 96, 96))
    nets["inception_v3"] = (lambda: tv.inception_v3(**plain), (1, 3, 128, 128))
    bare = dict(weights=None, weights_backbone=None)
    nets["fcn_resnet50"] = (lambda: Field(tv.segmentation.fcn_resnet50(**bare), "out"), (1, 3, 64, 64))
    nets["deeplabv3_resnet50"] = (lambda: Field(tv.segmentation.deeplabv3_resnet50(**bare), "out"), (1, 3, 64, 64))
    detection = tv.detection
    nets["retinanet_resnet50_fpn"] = (lambda: RawHead(detection.retinanet_resnet50_fpn(num_classes=4, **bare)), (1, 3, 96, 96))
    nets["fcos_resnet50_fpn"] = (lambda: RawHead(detection.fcos_resnet50_fpn(num_classes=4, **bare)), (1, 3, 96, 96))
    nets["ssdlite320"] = (lambda: RawHead(detection.ssdlite320_mobilenet_v3_large(num_classes=4, **bare)), (1, 3, 128, 128))
    for n in ["r3d_18", "mc3_18", "r2plus1d_18"]:
        nets[n] = (lambda n=n: getattr(tv.video, n)(weights=None), (1, 3, 8, 56, 56))
    import timm

    for n in """seresnet50 resnest14d skresnet18 ecaresnet26t dla34 hrnet_w18_small repvgg_a0 ghostnet_100 mixnet_s
        efficientnet_lite0 cspdarknet53 xception41 inception_resnet_v2 nfnet_l0 res2net50_26w_4s mobileone_s0 rexnet_100""".split():
        nets[f"timm {n}"] = (lambda n=n: timm.create_model(n, pretrained=False), (1, 3, 96, 96))
    return nets


def channels_last(rng):
    """A graph as tf2onnx writes them: NHWC outside, a transpose before and after each convolution, explicit padding, batch
    normalisation of an old operator set, dense layers as MatMul and Add."""
    weight = lambda name, *shape: numpy_helper.from_array((rng.standard_normal(shape) / 4).astype(np.float32), name)
    ints = lambda name, *values: numpy_helper.from_array(np.array(values, np.int64), name)
    positive = numpy_helper.from_array(rng.uniform(0.5, 1.5, 6).astype(np.float32), "variance")
    node = helper.make_node
    nodes = [
        node("Transpose", ["x"], ["x1"], perm=[0, 3, 1, 2]),
        node("Pad", ["x1", "pads"], ["x2"]),
        node("Conv", ["x2", "w1"], ["x3"], strides=[2, 2], kernel_shape=[3, 3]),
        node("BatchNormalization", ["x3", "scale", "shift", "mean", "variance"], ["x4"], epsilon=1e-3),
        node("Transpose", ["x4"], ["x5"], perm=[0, 2, 3, 1]),
        node("Relu", ["x5"], ["x6"]),
        node("Transpose", ["x6"], ["x7"], perm=[0, 3, 1, 2]),
        node("Conv", ["x7", "w2"], ["x8"], auto_pad="SAME_UPPER", kernel_shape=[3, 3]),
        node("Transpose", ["x8"], ["x9"], perm=[0, 2, 3, 1]),
        node("Add", ["x9", "b2"], ["x10"]),
        node("Add", ["x10", "x6"], ["x11"]),
        node("Relu", ["x11"], ["x12"]),
        node("ReduceMean", ["x12"], ["x13"], axes=[1, 2], keepdims=0),
        node("MatMul", ["x13", "w3"], ["x14"]),
        node("Add", ["x14", "b3"], ["y"]),
    ]
    weights = [
        ints("pads", 0, 0, 0, 0, 0, 0, 1, 1), weight("w1", 6, 3, 3, 3), weight("scale", 6), weight("shift", 6), weight("mean", 6),
        positive, weight("w2", 6, 6, 3, 3), weight("b2", 6), weight("w3", 6, 5), weight("b3", 5),
    ]
    value = lambda name, shape: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
    graph = helper.make_graph(nodes, "tf", [value("x", ["n", 12, 12, 3])], [value("y", ["n", 5])], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def save(folder, name, model, x):
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    y = session.run(None, {session.get_inputs()[0].name: x})[0]
    (folder / f"{name}.onnx").write_bytes(model)
    np.save(folder / f"{name}.x.npy", x)
    np.save(folder / f"{name}.y.npy", y)


def export(net, x, dynamo):
    buffer = io.BytesIO()
    if dynamo:
        torch.onnx.export(net, (x,), dynamo=True, verbose=False).save(buffer)
    else:
        torch.onnx.export(net, (x,), buffer, dynamo=False, input_names=["x"], output_names=["y"], dynamic_axes={"x": {0: "n"}})
    return buffer.getvalue()


def main():
    kind, folder, wanted = sys.argv[1], Path(sys.argv[2]), sys.argv[3:]
    folder.mkdir(parents=True, exist_ok=True)
    if kind == "small":
        rng = np.random.default_rng(1)
        save(folder, "channels_last", channels_last(rng).SerializeToString(), rng.standard_normal((1, 12, 12, 3)).astype(np.float32))
    for name, (make, shape) in (small() if kind == "small" else large()).items():
        if wanted and name not in wanted:
            continue
        for dynamo in [False] if kind == "small" else [False, True]:
            torch.manual_seed(1)
            try:
                x = torch.randn(shape)
                net = randomised(make(), x)
                save(folder, name.replace(" ", "_") + ("_dynamo" if dynamo else ""), export(net, x, dynamo), x.numpy())
            except Exception as error:  # One that cannot be exported must not keep the others from it.
                print(f"{name}, {'dynamo' if dynamo else 'TorchScript'}: {str(error)[:200]}", file=sys.stderr)


main()
