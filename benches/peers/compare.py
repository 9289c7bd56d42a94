#!/usr/bin/env python3
"""Times relprop, zennit, Captum and ONNX Runtime in turn on the same networks and writes one table. See README.md."""

import argparse
import copy
import datetime
import json
import os
import platform
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

# glibc gives freed memory back to the system by default, and every large tensor then costs page faults anew.
ALLOCATOR = {
    "MALLOC_TRIM_THRESHOLD_": str(1 << 34),
    "MALLOC_MMAP_THRESHOLD_": str(1 << 34),
    "MALLOC_TOP_PAD_": str(1 << 29),
    "MALLOC_MMAP_MAX_": "0",
}
COMPOSITES = ["epsilon-plus", "epsilon-gamma-box", "epsilon-alpha2-beta1"]
NETWORKS = ["vgg16", "vgg16-bn", "resnet18", "resnet50", "mobilenet-v2", "densenet121", "efficientnet-b0", "squeezenet"]
LIMIT = 3.0


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=["vgg16", "resnet50", "mobilenet-v2"])
    parser.add_argument("--composites", nargs="+", choices=COMPOSITES, default=COMPOSITES)
    parser.add_argument("--batches", nargs="+", type=int, default=[1])
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=3, help="rounds in which every tool has its turn")
    parser.add_argument("--runs", type=int, default=3, help="runs of a tool in its turn")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--relprop", default="target/release/relprop", help="the binary")
    parser.add_argument("--no-captum", action="store_true")
    parser.add_argument("--no-map", action="store_true", help="leave out the comparison of maps")
    parser.add_argument("--out", default="peers.md")
    return parser.parse_args()


def with_allocator(args):
    """Starts the script again with the allocator set."""
    if args.device != "cpu" or platform.system() != "Linux" or all(k in os.environ for k in ALLOCATOR):
        return
    os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **ALLOCATOR})


def network(name):
    """A torchvision network with random weights and random batch norm statistics."""
    import torch
    import torchvision

    torch.manual_seed(0)
    torchvision_name = {"squeezenet": "squeezenet1_1"}.get(name, name.replace("-", "_"))
    model = getattr(torchvision.models, torchvision_name)(weights=None).eval()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            for tensor, low, high in [
                (module.weight.data, 0.75, 1.25),
                (module.running_var, 0.75, 1.25),
                (module.bias.data, -0.25, 0.25),
                (module.running_mean, -0.25, 0.25),
            ]:
                tensor.uniform_(low, high)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    return model


def export(model, sample, path):
    import torch

    axes = {"input": {0: "N"}, "output": {0: "N"}}
    # The script-based exporter, where there is one, needs no further package.
    legacy = {"dynamo": False} if "dynamo" in torch.onnx.export.__code__.co_varnames else {}
    names = {"input_names": ["input"], "output_names": ["output"]}
    torch.onnx.export(model, (sample,), str(path), dynamic_axes=axes, opset_version=17, **names, **legacy)


def canonizers(name):
    from zennit.canonizers import SequentialMergeBatchNorm
    from zennit.torchvision import ResNetCanonizer, VGGCanonizer

    if name.startswith("resnet"):
        return [ResNetCanonizer()]
    if name.startswith("vgg"):
        return [VGGCanonizer()]
    return [SequentialMergeBatchNorm()]


def zennit_composite(name, canonizer, sample):
    import torch
    from zennit.composites import EpsilonAlpha2Beta1, EpsilonGammaBox, EpsilonPlus

    if name == "epsilon-plus":
        return EpsilonPlus(canonizers=canonizer)
    if name == "epsilon-alpha2-beta1":
        return EpsilonAlpha2Beta1(canonizers=canonizer)
    low, high = (torch.full_like(sample, limit) for limit in (-LIMIT, LIMIT))
    return EpsilonGammaBox(low=low, high=high, canonizers=canonizer)


class Clock:
    """Milliseconds of runs, by tool."""

    def __init__(self, device, runs):
        self.device, self.runs, self.times = device, runs, {}

    def wait(self):
        if self.device == "cuda":
            import torch

            torch.cuda.synchronize()

    def time(self, tool, run):
        run()  # Warms up.
        for _ in range(self.runs):
            self.wait()
            start = time.perf_counter()
            run()
            self.wait()
            self.times.setdefault(tool, []).append(1e3 * (time.perf_counter() - start))

    def median(self, tool):
        return statistics.median(self.times[tool]) if tool in self.times else None


def tf32(on):
    import torch

    torch.backends.cuda.matmul.allow_tf32 = on
    torch.backends.cudnn.allow_tf32 = on


def run_zennit(clock, args, model, name, composite_name, x):
    """Times zennit; gives its map with the logit of the largest output as seed."""
    from zennit.attribution import Gradient

    best = model(x).detach().argmax(dim=1)

    def seed(output):
        chosen = output.detach().clone().zero_()
        chosen[range(len(best)), best] = output.detach()[range(len(best)), best]
        return chosen

    composite = zennit_composite(composite_name, canonizers(name), x)
    relevance = None
    with Gradient(model=model, composite=composite) as attributor:

        def run():
            nonlocal relevance
            relevance = attributor(x, seed)[1]

        tf32(False)
        clock.time("zennit", run)
        relevance_of_float32 = relevance.detach().cpu().numpy()
        if args.device == "cuda":
            tf32(True)
            clock.time("zennit TF32", run)
            tf32(False)
    return relevance_of_float32


def captum_model(model):
    """A copy with Captum's rules for epsilon-plus."""
    import torch
    from captum.attr import LRP
    from captum.attr._utils.lrp_rules import Alpha1_Beta0_Rule, EpsilonRule

    model = copy.deepcopy(model)
    for module in model.modules():
        if hasattr(module, "inplace"):
            module.inplace = False
        if isinstance(module, torch.nn.Conv2d):
            module.rule = Alpha1_Beta0_Rule()
        elif isinstance(module, torch.nn.Linear):
            module.rule = EpsilonRule(epsilon=1e-6)
    return LRP(model)


def relprop_bench(args, path, composite, batch):
    backend = "gpu" if args.device == "cuda" else "cpu"
    command = [args.relprop, "bench", str(path), "--json", "--composite", composite, "--batch", str(batch)]
    command += ["--backend", backend, "--runs", str(args.runs)]
    environment = {k: v for k, v in os.environ.items() if k not in ALLOCATOR}
    environment["RAYON_NUM_THREADS"] = str(args.threads)
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout)


def map_difference(args, folder, path, composite, x, theirs):
    """Largest difference of relprop's map of the first sample, as a part of the largest value."""
    import numpy

    numpy.save(folder / "x.npy", x[:1].cpu().numpy())
    command = [args.relprop, "explain", str(folder / "x.npy"), "--model", str(path), "--quiet", "--backend", "cpu"]
    command += ["--composite", composite, f"--bounds={-LIMIT},{LIMIT}", "--out", str(folder / "out")]
    subprocess.run(command, check=True, capture_output=True)
    ours = numpy.load(folder / "out" / "x.relevance.npy")
    return float(abs(ours[0] - theirs[0]).max() / abs(theirs[0]).max())


def measure(args, folder, name, batch):
    """One row for each composite."""
    import onnxruntime
    import torch

    model = network(name).to(args.device)
    x = torch.randn(batch, 3, args.size, args.size, generator=torch.Generator().manual_seed(1)).clamp(-LIMIT, LIMIT)
    path = folder / f"{name}.onnx"
    if not path.exists():
        export(network(name), x[:1], path)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = args.threads
    wanted = "CUDAExecutionProvider" if args.device == "cuda" else "CPUExecutionProvider"
    session = None
    if wanted in onnxruntime.get_available_providers():
        session = onnxruntime.InferenceSession(str(path), options, providers=[wanted])
    photos, x = x.numpy(), x.to(args.device)

    notes = []
    captum = None
    if not args.no_captum:
        try:
            captum = captum_model(model)
        except ImportError:
            notes.append("Captum is not installed")
    best = model(x).argmax(dim=1)
    clock = Clock(args.device, args.runs)
    clocks = {composite: Clock(args.device, args.runs) for composite in args.composites}
    reports = {composite: [] for composite in args.composites}
    maps = {}
    for _ in range(args.rounds):
        with torch.inference_mode():
            clock.time("torch", lambda: model(x))
        if session:
            clock.time("onnxruntime", lambda: session.run(None, {"input": photos}))
        if captum:
            try:
                clock.time("captum", lambda: captum.attribute(x, target=best))
            except Exception as error:  # Captum raises whatever a layer it does not know brings about.
                notes.append(f"Captum, {name}: {type(error).__name__}: {str(error).splitlines()[0][:100]}")
                captum = None
        for composite in args.composites:
            report = relprop_bench(args, path, composite, batch)
            reports[composite].append(report)
            maps[composite] = run_zennit(clocks[composite], args, model, name, composite, x)
    rows = []
    for composite in args.composites:
        runs = reports[composite]
        middle = {key: statistics.median(r[key] for r in runs) for key in ["forward_ms", "explain_ms", "ratio", "gflops"]}
        own, zennit = middle["explain_ms"], clocks[composite].median("zennit")
        fast = clocks[composite].median("zennit TF32")
        captum_ms = clock.median("captum") if composite == "epsilon-plus" else None
        runtime = clock.median("onnxruntime")
        difference = None if args.no_map else map_difference(args, folder, path, composite, x, maps[composite])
        over = lambda a, b: None if a is None or b is None else a / b  # noqa: E731
        row = {
            "network": name,
            "batch": batch,
            "composite": composite,
            "torch forward ms": clock.median("torch"),
            "ORT forward ms": runtime,
            "relprop forward ms": middle["forward_ms"],
            "÷ ORT": over(middle["forward_ms"], runtime),
            "relprop ms": own,
            "÷ own forward": middle["ratio"],
            "% of peak": 100 * statistics.median(r["peak_fraction"] for r in runs),
            "peak MB": max(r["peak_memory_bytes"] for r in runs) / 1e6,
            "zennit ms": zennit,
            "zennit ÷ relprop": over(zennit, own),
            "zennit TF32 ms": fast,
            "zennit TF32 ÷ relprop": over(fast, own),
            "Captum ms": captum_ms,
            "Captum ÷ relprop": over(captum_ms, own),
            "map difference": difference,
        }
        print(f"{name} batch {batch} {composite}: {own:.1f} ms, zennit {zennit:.1f} ms", file=sys.stderr, flush=True)
        rows.append(row)
    return rows, notes, reports[args.composites[0]][0]


def cell(key, value):
    if value is None:
        return "–"
    if isinstance(value, str) or isinstance(value, int):
        return str(value)
    if key == "map difference":
        return f"{value:.1e}"
    return f"{value:.2f}" if "÷" in key else f"{value:.1f}" if value < 100 else f"{value:.0f}"


def processor():
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def table(args, rows, notes, report):
    import onnxruntime
    import torch


    # Columns that nothing was measured for are left out.
    keys = [key for key in rows[0] if any(row[key] is not None for row in rows)]
    machine = f"{processor()}, {args.threads} threads"
    if args.device == "cuda":
        machine += f", {torch.cuda.get_device_name()}"
    versions = f"torch {torch.__version__}, zennit {version('zennit')}, onnxruntime {onnxruntime.__version__}"
    lines = [
        f"{datetime.date.today()}, {machine}; relprop on {report['backend']} {report['adapter']} {report['driver']}".rstrip(),
        f"({report['peak']['gflops']:.0f} GFLOP/s in matrix products); {versions}.",
        f"`{shlex.join(['compare.py', *sys.argv[1:]])}`",
        "",
        "| " + " | ".join(keys) + " |",
        "|" + "---|" * len(keys),
    ]
    lines += ["| " + " | ".join(cell(key, row[key]) for key in keys) + " |" for row in rows]
    if notes:
        lines += ["", *(f"- {note}" for note in dict.fromkeys(notes))]
    return "\n".join(lines) + "\n"


def main():
    args = arguments()
    with_allocator(args)
    import torch

    torch.set_num_threads(args.threads)
    rows, notes, report = [], [], None
    with tempfile.TemporaryDirectory() as folder:
        for name in args.networks:
            for batch in args.batches:
                more, remarks, report = measure(args, Path(folder), name, batch)
                rows += more
                notes += remarks
                # What is done is kept, should the rest fail.
                Path(args.out).write_text(table(args, rows, notes, report))
    print(Path(args.out).read_text(), end="")


if __name__ == "__main__":
    main()
