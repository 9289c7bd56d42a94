"""Small networks of the block types that well-known architectures are made of: few channels, real structure."""

import torch
import torch.nn.functional as F
from torch import nn


def conv(inputs, outputs, size=3, stride=1, groups=1, act=nn.ReLU):
    layers = [
        nn.Conv2d(inputs, outputs, size, stride, size // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
    ]
    return nn.Sequential(*layers, act()) if act else nn.Sequential(*layers)


def classifier(channels, *blocks, classes=7):
    return nn.Sequential(
        conv(3, channels, stride=2), *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LazyLinear(classes)
    )


class Residual(nn.Module):
    def __init__(self, body, after=nn.Identity):
        super().__init__()
        self.body, self.after = body, after()

    def forward(self, x):
        return self.after(x + self.body(x))


class SqueezeExcite(nn.Module):
    def __init__(self, channels, gate=nn.Sigmoid):
        super().__init__()
        self.down, self.up, self.gate = nn.Conv2d(channels, 4, 1), nn.Conv2d(4, channels, 1), gate()

    def forward(self, x):
        return x * self.gate(self.up(F.relu(self.down(x.mean((2, 3), keepdim=True)))))


class DenseBlock(nn.Module):
    def __init__(self, channels, growth, layers):
        super().__init__()
        widths = [channels + i * growth for i in range(layers)]
        self.layers = nn.ModuleList(
            nn.Sequential(
                nn.BatchNorm2d(w), nn.ReLU(), nn.Conv2d(w, 2 * growth, 1, bias=False),
                nn.BatchNorm2d(2 * growth), nn.ReLU(), nn.Conv2d(2 * growth, growth, 3, padding=1, bias=False),
            )
            for w in widths
        )  # fmt: skip

    def forward(self, x):
        features = [x]
        for layer in self.layers:
            features.append(layer(torch.cat(features, 1)))
        return torch.cat(features, 1)


class Shuffle(nn.Module):
    """ShuffleNet v2: one half passes, the other is convolved, and channels are shuffled."""

    def __init__(self, channels):
        super().__init__()
        half = channels // 2
        self.body = nn.Sequential(conv(half, half, 1), conv(half, half, groups=half, act=None), conv(half, half, 1))

    def forward(self, x):
        a, b = x.chunk(2, dim=1)
        y = torch.cat([a, self.body(b)], 1)
        n, c, h, w = y.shape
        return y.view(n, 2, c // 2, h, w).transpose(1, 2).contiguous().view(n, c, h, w)


class ConvNeXt(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.wide, self.narrow = nn.Linear(channels, 4 * channels), nn.Linear(4 * channels, channels)
        self.scale = nn.Parameter(torch.rand(channels, 1, 1))

    def forward(self, x):
        y = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        return x + self.scale * self.narrow(F.gelu(self.wide(y))).permute(0, 3, 1, 2)


class SplitAttention(nn.Module):
    """ResNeSt: a softmax over two splits weighs them."""

    def __init__(self, channels):
        super().__init__()
        self.conv = conv(channels, 2 * channels, groups=2)
        self.down, self.up = nn.Conv2d(channels, 8, 1), nn.Conv2d(8, 2 * channels, 1)

    def forward(self, x):
        y = self.conv(x)
        n, c, h, w = y.shape
        y = y.reshape(n, 2, c // 2, h, w)
        gate = self.up(F.relu(self.down(y.sum(1).mean((2, 3), keepdim=True))))
        gate = gate.view(n, 1, 2, c // 2).transpose(1, 2).softmax(1).reshape(n, 2, c // 2, 1, 1)
        return (y * gate).sum(1)


class Inception(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.one = conv(channels, 6, 1)
        self.three = nn.Sequential(conv(channels, 4, 1), conv(4, 6))
        self.five = nn.Sequential(conv(channels, 4, 1), conv(4, 4, 5))
        self.pool = conv(channels, 4, 1)

    def forward(self, x):
        pooled = F.avg_pool2d(x, 3, 1, 1)
        return torch.cat([self.one(x), self.three(x), self.five(x), self.pool(pooled), F.max_pool2d(x, 3, 1, 1)], 1)


class StandardisedConv(nn.Conv2d):
    """A convolution of weights with mean 0 and deviation 1, as NFNets have it."""

    def forward(self, x):
        w = self.weight
        w = (w - w.mean((1, 2, 3), keepdim=True)) * torch.rsqrt(w.var((1, 2, 3), keepdim=True) + 1e-6)
        return F.conv2d(x, 0.3 * w, self.bias, self.stride, self.padding)


class UNet(nn.Module):
    """Encoder and decoder with skips; the way up is a transposed convolution, or bilinear and a convolution."""

    def __init__(self, inputs, classes, width, depth, bilinear):
        super().__init__()
        widths = [width << i for i in range(depth + 1)]
        double = lambda a, b: nn.Sequential(conv(a, b), conv(b, b))
        self.first = double(inputs, width)
        self.down = nn.ModuleList(double(a, b) for a, b in zip(widths, widths[1:]))
        rise = lambda a, b: (
            nn.Sequential(nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True), nn.Conv2d(a, b, 1))
            if bilinear
            else nn.ConvTranspose2d(a, b, 2, 2)
        )
        pairs = list(zip(widths, widths[1:]))[::-1]
        self.up = nn.ModuleList(rise(b, a) for a, b in pairs)
        self.join = nn.ModuleList(double(2 * a, a) for a, _ in pairs)
        self.last = nn.Conv2d(width, classes, 1)

    def forward(self, x):
        skips = [self.first(x)]
        for down in self.down:
            skips.append(down(F.max_pool2d(skips[-1], 2)))
        y = skips.pop()
        for up, join in zip(self.up, self.join):
            y = join(torch.cat([skips.pop(), up(y)], 1))
        return self.last(y)


class Bridge(nn.Module):
    """An atrous pyramid with a pooled branch that is resized to the others, as DeepLab has it."""

    def __init__(self, channels, classes):
        super().__init__()
        self.stem = conv(3, channels, stride=2)
        self.rates = nn.ModuleList(nn.Conv2d(channels, 4, 3, padding=r, dilation=r) for r in (1, 2, 4))
        self.pooled = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, 4, 1), nn.ReLU())
        self.last = nn.Conv2d(16, classes, 1)

    def forward(self, x):
        y = self.stem(x)
        size = y.shape[-2:]
        pooled = F.interpolate(self.pooled(y), size=size, mode="bilinear", align_corners=False)
        y = self.last(torch.cat([rate(y).relu() for rate in self.rates] + [pooled], 1))
        return F.interpolate(y, size=x.shape[-2:], mode="bilinear", align_corners=False)


def video(inputs, outputs, middle):
    """R(2+1)D: a convolution in space, then one in time."""
    return nn.Sequential(
        nn.Conv3d(inputs, middle, (1, 3, 3), padding=(0, 1, 1), bias=False), nn.BatchNorm3d(middle), nn.ReLU(),
        nn.Conv3d(middle, outputs, (3, 1, 1), padding=(1, 0, 0), bias=False), nn.BatchNorm3d(outputs), nn.ReLU(),
    )  # fmt: skip


def inverted(channels, act=nn.ReLU6, gate=None):
    wide = 3 * channels
    squeeze = [SqueezeExcite(wide, gate)] if gate else []
    layers = [conv(channels, wide, 1, act=act), conv(wide, wide, groups=wide, act=act), *squeeze]
    return Residual(nn.Sequential(*layers, conv(wide, channels, 1, act=None)))


def standardised():
    body = nn.Sequential(nn.SiLU(), StandardisedConv(8, 8, 3, padding=1), SqueezeExcite(8))
    return nn.Sequential(
        StandardisedConv(3, 8, 3, 2, 1), Residual(body), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 7)
    )


def r2plus1d():
    layers = [video(3, 6, 5), Residual(video(6, 6, 7)), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(6, 7)]
    return nn.Sequential(*layers)


IMAGE = (1, 3, 16, 16)

TINY = {
    "se_block": (
        lambda: classifier(8, Residual(nn.Sequential(conv(8, 8), conv(8, 8, act=None), SqueezeExcite(8)), nn.ReLU)),
        IMAGE,
    ),
    "dense_block": (lambda: classifier(6, DenseBlock(6, 4, 3), nn.BatchNorm2d(18), nn.ReLU()), IMAGE),
    "inverted_residual": (lambda: classifier(6, inverted(6)), IMAGE),
    "inverted_residual_se": (lambda: classifier(6, inverted(6, nn.Hardswish, nn.Hardsigmoid)), IMAGE),
    "mbconv_silu": (lambda: classifier(6, inverted(6, nn.SiLU, nn.Sigmoid)), IMAGE),
    "shuffle": (lambda: classifier(8, Shuffle(8), Shuffle(8)), IMAGE),
    "convnext_block": (lambda: classifier(8, ConvNeXt(8)), IMAGE),
    "split_attention": (lambda: classifier(8, SplitAttention(8)), IMAGE),
    "inception_branches": (lambda: classifier(6, Inception(6)), IMAGE),
    "standardised": (standardised, IMAGE),
    "unet_skip": (lambda: UNet(3, 4, 4, 2, False), IMAGE),
    "unet_bilinear_skip": (lambda: UNet(3, 4, 4, 2, True), IMAGE),
    "atrous_pyramid": (lambda: Bridge(6, 4), IMAGE),
    "r2plus1d_block": (r2plus1d, (1, 3, 4, 12, 12)),
}
