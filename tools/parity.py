#!/usr/bin/env python3
"""Does another device or precision give the same? Calibrates, compresses and measures one model in several ways and compares.

    tools/parity.py MODEL FOLDER --calibration TEXT --text TEST [--ways cpu:f32,cuda:f32,cuda:tf32,cuda:bf16] [--recipes paper,default]
            [--ratio 0.2] [--sequences 32] [--length 2048] [--blocks 32] [--threads 0] [--modegpt modegpt]

A way is a device and its MODEGPT_GEMM; the first is what the others are compared with. Ways of different devices run side by side.
Statistics of every kind are compared element by element: |a - b| relative to sqrt(a_ii a_jj) for the matrices, to |a| for the rest,
the largest over all layers. Models are compared by perplexity on the first --blocks blocks of TEST, each measured in its own way and the
first way's in every way, and by how many of the MLP units and rotary pairs they keep are the same. FOLDER keeps all that is made.
What fails is told, and the rest is compared; the exit code is 1 then. Needs numpy.
"""

import argparse
import concurrent.futures
import json
import os
import pathlib
import subprocess
import sys
import time

import numpy as np

import checkpoints
from bench_gpu import Table

MATRICES = {"attention_input", "mlp_inner", "head_output", "logit_covariance"}
PACKED = {"attention_input", "mlp_inner"}


def unpacked(triangle):
    """The symmetric matrix of a packed lower triangle."""
    size = int((np.sqrt(8 * triangle.size + 1) - 1) / 2)
    square = np.zeros((size, size))
    square[np.tril_indices(size)] = triangle.ravel()
    return square + np.tril(square, -1).T


def difference(kind, a, b):
    """Largest |a - b|, relative as the module's documentation says; 0 where both are 0."""
    if kind in PACKED:
        a, b = unpacked(a), unpacked(b)
    if kind in MATRICES:
        # Those of heads lie one below another.
        width = a.shape[1]
        blocks = a.reshape(-1, width, width)
        diagonal = np.sqrt(np.abs(np.diagonal(blocks, axis1=1, axis2=2)))
        scale = (diagonal[:, :, None] * diagonal[:, None, :]).reshape(a.shape)
    else:
        scale = np.abs(a)
    change = np.abs(a - b)
    return float(np.max(np.divide(change, scale, out=np.where(change > 0, np.inf, 0.0), where=scale > 0)))


def statistics_differences(first, other):
    """{kind: largest relative difference over layers} of two statistics files."""
    a, b = (checkpoints.read_safetensors(path)[0] for path in (first, other))
    worst = {}
    for name, value in a.items():
        kind = name.split(".", 2)[2]
        worst[kind] = max(worst.get(kind, 0.0), difference(kind, value, b[name]))
    return worst


def kept(folder):
    """Per layer the kept MLP units, known by their rows of the up projection, and rotary pairs (head, pair) of a compressed model."""
    layers = json.loads((folder / "config.json").read_text())["modegpt"]["layers"]
    units = [set() for _ in layers]
    for file in sorted(folder.glob("*.safetensors")):
        for name, value in checkpoints.read_safetensors(file)[0].items():
            if name.endswith("mlp.up_proj.weight"):
                units[int(name.split(".")[2])] = {row.tobytes() for row in value}
    pairs = [{(head, pair) for head, of_head in enumerate(layer.get("rotary_pairs", [])) for pair in of_head} for layer in layers]
    return units, pairs


def overlap(first, other):
    """Share of what either keeps more of that both keep, over all layers."""
    both = sum(len(a & b) for a, b in zip(first, other))
    return both / max(1, sum(max(len(a), len(b)) for a, b in zip(first, other)))


class Parity:
    def __init__(self, arguments):
        self.arguments = arguments
        self.failures = []
        self.perplexities = {}  # by (number of the way that made the model, recipe or "dense", way that measured it)

    def modegpt(self, way, *words):
        device, gemm = way.split(":")
        settings = {"MODEGPT_GEMM": gemm, "MODEGPT_RUNS": "off"}
        settings["MODEGPT_JAVA_OPTS"] = os.environ.get("MODEGPT_JAVA_OPTS", "-Xmx4g")
        command = [self.arguments.modegpt.resolve(), *words, "--device", device, "--threads", self.arguments.threads, "--json", "--no-progress"]
        start = time.perf_counter()
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, env=os.environ | settings)
        print(f"{way}: {words[0]} {pathlib.Path(words[1]).name}: {time.perf_counter() - start:.1f} s", flush=True)
        if done.returncode != 0:
            raise RuntimeError(f"{way}: {words[0]}: {done.stderr.strip()[-300:]}")
        return json.loads(done.stdout or "{}")

    def place(self, number):
        return self.arguments.folder / f"{number}-{self.arguments.ways[number].replace(':', '-')}"

    def statistics(self, number):
        return self.place(number) / "statistics"

    def model(self, number, recipe):
        return self.place(number) / recipe

    def measure(self, number, what, path, way):
        result = self.modegpt(way, "perplexity", path, "-f", self.arguments.text, "-c", self.arguments.length, "--chunks",
                              self.arguments.blocks)
        self.perplexities[number, what, way] = result["perplexity"]

    def make(self, number):
        """Everything of one way."""
        way = self.arguments.ways[number]
        self.place(number).mkdir(parents=True)
        text = ["--calibration", self.arguments.calibration, "--cal-nsamples", self.arguments.sequences,
                "--max-seq-length", self.arguments.length]
        self.measure(number, "dense", self.arguments.model, way)
        self.modegpt(way, "calibrate", self.arguments.model, *text, "-o", self.statistics(number))
        for recipe in self.arguments.recipes:
            self.modegpt(way, "compress", self.arguments.model, "--statistics", self.statistics(number), *text, "--recipe", recipe,
                         "--ratio", self.arguments.ratio, "--no-eval", "--output", self.model(number, recipe))
            self.measure(number, recipe, self.model(number, recipe), way)

    def attempt(self, step, *arguments):
        try:
            step(*arguments)
        except (RuntimeError, OSError, ValueError, KeyError) as error:
            self.failures.append(str(error))
            print(f"FAILED {type(error).__name__}: {error}", flush=True)

    def run(self):
        ways = self.arguments.ways
        by_device = {}
        for number, way in enumerate(ways):
            by_device.setdefault(way.split(":")[0], []).append(number)
        with concurrent.futures.ThreadPoolExecutor(len(by_device)) as threads:
            for numbers in by_device.values():
                threads.submit(lambda numbers=numbers: [self.attempt(self.make, number) for number in numbers])
        for recipe in self.arguments.recipes:
            for way in dict.fromkeys(ways):
                if way != ways[0]:
                    self.attempt(self.measure, 0, recipe, self.model(0, recipe), way)
        self.attempt(self.compare_statistics)
        for recipe in self.arguments.recipes:
            self.attempt(self.compare_models, recipe)

    def compare_statistics(self):
        others = [i for i in range(1, len(self.arguments.ways)) if self.statistics(i).exists()]
        columns = [statistics_differences(self.statistics(0), self.statistics(i)) for i in others]
        title = f"Statistics, largest relative difference from {self.arguments.ways[0]}"
        table = Table(title, "sum", *(self.arguments.ways[i] for i in others))
        for kind in columns[0] if columns else ():
            table.add(kind, *(f"{column[kind]:.1e}" for column in columns))
        print(table, flush=True)

    def compare_models(self, recipe):
        table = Table(f"{recipe}, {100 * self.arguments.ratio:.0f} % removed", "way", "removed, %", "dense perplexity", "perplexity", "against the first, %", "the first's model here",
                      "equal MLP units, %", "equal rotary pairs, %")
        first = kept(self.model(0, recipe))
        base = self.perplexities.get((0, recipe, self.arguments.ways[0]))
        for i, way in enumerate(self.arguments.ways):
            folder = self.model(i, recipe)
            if not folder.exists():
                continue
            units, pairs = kept(folder)
            removed = json.loads((folder / "report.json").read_text())["reached_ratio"]
            dense, own, here = (self.perplexities.get(key) for key in ((i, "dense", way), (i, recipe, way), (0, recipe, way)))
            change = f"{100 * (own / base - 1):+.3f}" if own and base else ""
            shown = [f"{perplexity:.4f}" if perplexity else "" for perplexity in (dense, own, here)]
            table.add(way, f"{100 * removed:.3f}", *shown[:2], change, shown[2], f"{100 * overlap(first[0], units):.2f}",
                      f"{100 * overlap(first[1], pairs):.2f}")
        print(table, flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("folder", type=pathlib.Path, help="must not hold an earlier comparison")
    parser.add_argument("--calibration", required=True)
    parser.add_argument("--text", required=True)
    parser.add_argument("--ways", type=lambda text: text.split(","), default="cpu:f32,cuda:f32,cuda:tf32,cuda:bf16".split(","))
    parser.add_argument("--recipes", type=lambda text: text.split(","), default=["paper", "default"])
    parser.add_argument("--ratio", type=float, default=0.2)
    for name, default in (("sequences", 32), ("length", 2048), ("blocks", 32), ("threads", 0)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--modegpt", type=pathlib.Path, default=pathlib.Path(__file__).resolve().parent.parent / "modegpt")
    parity = Parity(parser.parse_args())
    parity.run()
    sys.exit(1 if parity.failures else 0)


if __name__ == "__main__":
    main()
