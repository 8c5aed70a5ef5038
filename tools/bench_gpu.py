#!/usr/bin/env python3
"""Repeats the GPU figures of PERFORMANCE.md and prints them as Markdown tables.

    tools/bench_gpu.py FOLDER TEXT [--shapes 7b,8b,13b,70b] [--recipes paper,default]
            [--parts demo,compress,profile,generate,torch,compile] [--depths 3,6] [--modegpt modegpt] [--limit 300]

FOLDER is an empty place, best on a RAM disk, for one model of random weights after another: 7b needs 25 GB there, 8b 30, 13b 50 and
70b 25, and where statistics do not fit the device they take 25, 30, 40 and 25 GB more. TEXT is the calibration text, at least 262,144
tokens of the demonstration's tokenizer.

    demo      speed of perplexity on the demonstration model, in each precision and on the CPU
    compress  seconds of each phase and peak memory of compressing by 30 %, calibrated on 128 x 2048 tokens (70b: 4 x 2048)
    profile   time and TFLOP/s of each operation of that, by MODEGPT_PROFILE
    generate  prompts of 1024 tokens and 32 tokens after them, one sequence and 32, dense and compressed
    torch     transformers on the same files: the forward pass of calibration, Gram matrices, generation (needs torch, transformers)
    compile   transformers' generation with a static cache and torch.compile

Shapes are LLaMA-2's 7B and 13B, Llama-3-8B and LLaMA-2-70B with a vocabulary of 32000; of 70b only as many layers as --depths says, one
model for each, to show that device memory does not grow with depth. A part that fails is told and the others are run all the same; the
exit code is 1 then. Every command gets --limit seconds. MODEGPT_GEMM (default bf16) and MODEGPT_JAVA_OPTS (-Xmx8g) are passed on.
Needs numpy.
"""

import argparse
import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

import make_random_model

HERE = pathlib.Path(__file__).resolve().parent
DEMO = HERE.parent / "java" / "demo"
PARTS = ("demo", "compress", "profile", "generate", "torch", "compile")
GIB = 1 << 30
# A cell that is a number, or empty.
NUMBER = re.compile(r"([-+]?[\d,.]+(e[-+]\d+)?)?")
CONTEXT, TOKENS, BATCHES = 1024, 32, (1, 32)
SEQUENCES, LENGTH = 8, 2048

# --layers and so on of make_random_model, and sequences of calibration.
SHAPES = {
    "7b": (dict(layers=32, hidden=4096, mlp=11008, heads=32, kv_heads=32), 128),
    "8b": (dict(layers=32, hidden=4096, mlp=14336, heads=32, kv_heads=8), 128),
    "13b": (dict(layers=40, hidden=5120, mlp=13824, heads=40, kv_heads=40), 128),
    "70b": (dict(hidden=8192, mlp=28672, heads=64, kv_heads=8), 4),
}


# The card that programs take as their first.
CARD = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")[0] or "0"


class Failure(Exception):
    """What went wrong in a part, in one line."""


class Peak(threading.Thread):
    """The most memory seen while a process runs: of the device in use beyond what was in use before, and of the process."""

    INTERVAL = 0.2

    def __init__(self):
        super().__init__(daemon=True)
        self.device, self.own, self.resident = None, 0, 0
        self.before, self.process, self.smi = None, None, None
        with contextlib.suppress(OSError):
            self.smi = subprocess.Popen(["nvidia-smi", f"--id={CARD}", "--query-gpu=memory.used", "--format=csv,noheader,nounits",
                                         f"--loop-ms={int(1000 * self.INTERVAL)}"], stdout=subprocess.PIPE, text=True)
            self.before = self.mebibytes()

    def mebibytes(self):
        line = self.smi.stdout.readline().strip()
        return int(line) << 20 if line.isdigit() else None

    def watch(self, process):
        self.process = process
        if self.before is not None:
            self.start()
        threading.Thread(target=self.follow_process, daemon=True).start()

    def run(self):
        while (used := self.mebibytes()) is not None:
            self.device = max(self.device or 0, used - self.before)

    def follow_process(self):
        while self.process.poll() is None:
            with contextlib.suppress(OSError):
                status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
                own, resident = memory(status)
                self.own, self.resident = max(self.own, own), max(self.resident, resident)
            time.sleep(self.INTERVAL)

    def stop(self):
        if self.smi is not None:
            self.smi.terminate()
            if self.is_alive():
                self.join()
            self.smi.stdout.close()
            self.smi.wait()


def memory(status):
    """(anonymous memory now, highest resident memory) in bytes by the text of /proc/PID/status; files it maps count for the second."""
    sizes = {name: int(size) << 10 for name, size in re.findall(r"^(\w+):\s+(\d+) kB$", status, re.M)}
    return sizes.get("RssAnon", 0), sizes.get("VmHWM", 0)


def run(command, limit, environment=None, on_line=None):
    """Runs a command, whose messages are passed on. Returns (standard output, seconds, Peak); raises Failure."""
    command = list(map(str, command))
    print("$ " + " ".join(command), flush=True)
    peak = Peak()
    lines = []
    start = time.perf_counter()
    with tempfile.TemporaryFile("w+") as messages:
        try:
            with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=messages, text=True,
                                  env=os.environ | (environment or {})) as process:
                peak.watch(process)
                timer = threading.Timer(limit, process.kill)
                timer.start()
                try:
                    for line in process.stdout:
                        lines.append(line)
                        if on_line:
                            on_line(line)
                    process.wait()
                finally:
                    timed_out = not timer.is_alive()
                    timer.cancel()
                    process.kill()
        except OSError as error:
            raise Failure(f"{command[0]}: {error.strerror}") from error
        finally:
            seconds = time.perf_counter() - start
            peak.stop()
            messages.seek(0)
            told = messages.read()
            sys.stdout.write(told[-4000:])
    if process.returncode != 0:
        last = ([line for line in told.splitlines() if line.strip()] or [""])[-1]
        reason = f"stopped after {limit} s" if timed_out else f"exit code {process.returncode}"
        raise Failure(f"{reason}: {last[:200]}")
    return "".join(lines), seconds, peak


class Table:
    """A Markdown table that grows; numbers are aligned right."""

    def __init__(self, title, *columns):
        self.title, self.columns, self.rows = title, columns, []

    def add(self, *cells):
        self.rows.append([cell if isinstance(cell, str) else number(cell) for cell in cells])

    def __str__(self):
        left = [any(not NUMBER.fullmatch(row[i]) for row in self.rows) for i in range(len(self.columns))]
        lines = [self.columns, ["---" if text else "--:" for text in left], *self.rows]
        return f"\n### {self.title}\n\n" + "\n".join(map(markdown, lines))


def markdown(cells):
    return "| " + " | ".join(cells) + " |"


def number(value):
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.1f}"


def compression_row(out, wall, peak):
    """Seconds of the phases by `compress --json`, what is left of the whole, the whole, and GiB of device and host."""
    seconds = json.loads(out)["seconds"]
    phases = [seconds[name] for name in ("calibration", "allocation", "decomposition")]
    device = None if peak.device is None else peak.device / GIB
    return [wall - sum(phases), *phases, wall, device, peak.own / GIB, peak.resident / GIB]


def speeds(out):
    """{("pp" or "tg", batch): tokens/s} of `bench --json` of one model."""
    return {(row["test"][:2], row["batch"]): row["tokens_per_second"] for row in json.loads(out)["results"]}


def profile_rows(text):
    """(operation, seconds, calls, TFLOP/s) of the table of MODEGPT_PROFILE, shapes of one operation added up, longest first; and the
    last line's (seconds in operations, seconds in all)."""
    sums = {}
    total = None
    for line in text.splitlines()[1:]:
        seconds, calls, _, rate, operation = line.split("\t")
        if match := re.fullmatch(r"all operations, of ([\d.]+)", operation):
            total = float(seconds), float(match[1])
            continue
        entry = sums.setdefault(operation.split()[0], [0.0, 0, 0.0])
        entry[0] += float(seconds)
        entry[1] += int(calls)
        entry[2] += float(seconds) * float(rate)
    rows = [(name, s, calls, work / s if s else 0.0) for name, (s, calls, work) in sums.items()]
    return sorted(rows, key=lambda row: -row[1]), total


class Bench:
    def __init__(self, arguments):
        self.arguments = arguments
        self.failures = []
        self.demo_speed = Table("Perplexity of the demonstration model", "device", "precision", "perplexity", "tokens/s")
        self.compression = Table(
            "Compression by 30 %, seconds and GiB", "shape", "layers", "tokens", "recipe", "start and end", "calibration", "allocation",
            "decomposition and writing", "whole program", "device memory", "host, own", "host, with mapped files")
        self.profiles = []
        self.generation = Table(
            f"Generation, tokens/s of all sequences together; prompts of {CONTEXT} tokens, {TOKENS} tokens after them", "shape", "layers",
            "program", "model", *(f"prompts x {batch}" for batch in BATCHES), *(f"generation x {batch}" for batch in BATCHES))
        self.torch = Table(
            f"PyTorch, measured on {SEQUENCES} x {LENGTH} tokens, seconds for 128 x {LENGTH} by proportion", "shape", "layers", "model",
            "tokens/s", "forward pass", "float64 Gram matrices (of one layer, times layers)")

    @contextlib.contextmanager
    def part(self, name):
        print(f"\n== {name}", flush=True)
        start = time.perf_counter()
        try:
            yield
        except (Failure, OSError, ValueError, KeyError) as error:
            self.failures.append(f"{name}: {type(error).__name__ if not isinstance(error, Failure) else 'failed'}: {error}")
            print(f"FAILED {self.failures[-1]}", flush=True)
        print(f"-- {name}: {time.perf_counter() - start:.1f} s", flush=True)

    def row(self, table, *cells):
        """Adds a row and prints it at once."""
        table.add(*cells)
        print(markdown(table.rows[-1]), flush=True)

    def modegpt(self, *words, **environment):
        gemm = {"MODEGPT_GEMM": os.environ.get("MODEGPT_GEMM", "bf16"), "MODEGPT_RUNS": "off",
                "MODEGPT_JAVA_OPTS": os.environ.get("MODEGPT_JAVA_OPTS", "-Xmx8g")}
        return run([self.arguments.modegpt.resolve(), *words], self.arguments.limit, gemm | environment)

    def demo(self):
        model, text = DEMO / "wiki-16m", DEMO / "text" / "wikitext2.test.txt"
        for device, gemm in ((self.arguments.device, "f32"), (self.arguments.device, "tf32"), (self.arguments.device, "bf16"),
                             ("cpu", "f32")):
            with self.part(f"demo {device} {gemm}"):
                out, _, _ = self.modegpt("perplexity", model, "-f", text, "--device", device, "--json", MODEGPT_GEMM=gemm)
                result = json.loads(out)
                self.row(self.demo_speed, device, gemm, f"{result['perplexity']:.4f}", result["tokens_per_second"])

    def shape(self, name, layers):
        sizes, sequences = SHAPES[name]
        sizes = sizes | {"layers": layers, "head-dim": sizes["hidden"] // sizes["heads"]}
        with tempfile.TemporaryDirectory(prefix="bench-", dir=self.arguments.folder) as folder:
            model = pathlib.Path(folder) / f"{name}-{layers}"
            with self.part(f"{model.name}: random weights"):
                words = [str(model), "--tokenizer", str(DEMO / "wiki-16m"), "--untied"]
                for key, value in sizes.items():
                    words += ["--" + key.replace("_", "-"), str(value)]
                shape = make_random_model.parser().parse_args(words)
                parameters = make_random_model.write_model(shape, shape.tokenizer, model, shape.seed, shape.shard_bytes)
                print(f"{2 * parameters / 1e9:.1f} GB", flush=True)
            if model.exists():
                self.measure(name, layers, model, sequences)

    def measure(self, name, layers, model, sequences):
        parts = self.arguments.parts
        models = {"dense": model}
        if {"compress", "profile"} & set(parts):
            for recipe in self.arguments.recipes:
                out = model.with_name(f"{model.name}-30-{recipe}")
                words = ["compress", model, "--device", self.arguments.device, "--recipe", recipe, "--ratio", "0.3", "--multiple-of", "16",
                         "--calibration", self.arguments.text, "--cal-nsamples", sequences, "--output", out, "--overwrite", "--no-eval",
                         "--no-progress", "--json"]
                if "compress" in parts:
                    with self.part(f"{model.name}: compress {recipe}"):
                        tokens = f"{sequences} x {LENGTH}"
                        self.row(self.compression, name, str(layers), tokens, recipe, *compression_row(*self.modegpt(*words)))
                if "profile" in parts:
                    with self.part(f"{model.name}: profile {recipe}"):
                        self.profile(f"{name}, {layers} layers, {recipe}", words)
                if out.exists():
                    if len(models) == 1:
                        models["30 % removed"] = out
                    else:
                        shutil.rmtree(out)
        if "generate" in parts:
            for label, path in models.items():
                with self.part(f"{model.name}: generate, {label}"):
                    out, _, _ = self.modegpt("bench", path, "--device", self.arguments.device, "-p", CONTEXT, "-n", TOKENS, "-d", CONTEXT,
                                             "-r", 3, "-b", ",".join(map(str, BATCHES)), "--json")
                    rates = speeds(out)
                    self.row(self.generation, name, str(layers), "modegpt", label, *(rates[t, b] for t in ("pp", "tg") for b in BATCHES))
        for label, path in models.items():
            if "torch" in parts:
                with self.part(f"{model.name}: torch, {label}"):
                    gram = ["--gram"] if path == model else []
                    self.transformers(name, layers, "eager", label, path, ["--forward", *gram, "--generate"])
            if "compile" in parts:
                with self.part(f"{model.name}: compile, {label}"):
                    self.transformers(name, layers, "compiled", label, path, ["--generate", "--compile"])

    def profile(self, title, words):
        with tempfile.NamedTemporaryFile() as file:
            self.modegpt(*words, MODEGPT_PROFILE=file.name)
            rows, (timed, whole) = profile_rows(pathlib.Path(file.name).read_text())
        table = Table(f"Operations, each waited for: {title}; {timed:.1f} of {whole:.1f} s", "operation", "s", "calls", "TFLOP/s")
        self.profiles.append(table)
        for operation, seconds, calls, rate in rows:
            if seconds >= 0.005 * timed:
                self.row(table, operation, f"{seconds:.2f}", str(calls), number(rate) if rate else "")

    def transformers(self, name, layers, how, label, path, words):
        results = {}

        def keep(line):
            if line.startswith("{"):
                print(line, end="", flush=True)
                result = json.loads(line)
                results[result.pop("test")] = result

        command = [sys.executable, HERE / "torch_speed.py", path, *words, "--device", self.arguments.device, "--sequences", SEQUENCES,
                   "--length", LENGTH, "--context", CONTEXT, "--tokens", TOKENS, "--batches", ",".join(map(str, BATCHES))]
        try:
            run(command, self.arguments.limit, on_line=keep)
        finally:
            if "forward" in results:
                rate = results["forward"]["tokens_per_second"]
                gram = results.get("gram")
                whole = 128 * LENGTH
                self.row(self.torch, name, str(layers), label, rate, whole / rate,
                               gram and gram["seconds"] * layers * whole / (SEQUENCES * LENGTH))
            batches = [results.get(f"generate {batch}", {}) for batch in BATCHES]
            if any(batches):
                self.row(self.generation, name, str(layers), f"transformers, {how}", label, *(b.get("prompt_tokens_per_second") for b in batches),
                                    *(b.get("tokens_per_second") for b in batches))

    def run(self):
        print(f"{self.describe()}\n", flush=True)
        if "demo" in self.arguments.parts:
            self.demo()
        if set(self.arguments.parts) - {"demo"}:
            for name in self.arguments.shapes:
                for layers in self.arguments.depths if name == "70b" else [SHAPES[name][0]["layers"]]:
                    self.shape(name, layers)

    def describe(self):
        with contextlib.suppress(OSError, subprocess.CalledProcessError):
            gpu = subprocess.run(["nvidia-smi", f"--id={CARD}", "--query-gpu=name,driver_version", "--format=csv,noheader"], check=True,
                                 capture_output=True, text=True).stdout.strip()
            return f"{gpu}, {os.cpu_count()} CPU cores"
        return f"no nvidia-smi, {os.cpu_count()} CPU cores"

    def tables(self):
        print(f"\n## {self.describe()}, {time.strftime('%Y-%m-%d')}")
        for table in (self.demo_speed, self.compression, self.torch, self.generation, *self.profiles):
            if table.rows:
                print(table)
        for failure in self.failures:
            print(f"\nFAILED {failure}")
        sys.stdout.flush()


def listed(allowed=None, kind=str):
    def parse(text):
        values = [kind(value) for value in text.split(",") if value]
        wrong = [value for value in values if allowed and value not in allowed]
        if wrong:
            raise argparse.ArgumentTypeError(f"{wrong[0]} is none of {', '.join(allowed)}")
        return values

    return parse


def parser():
    result = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    result.add_argument("folder", type=pathlib.Path)
    result.add_argument("text", type=pathlib.Path)
    result.add_argument("--shapes", type=listed(SHAPES), default=list(SHAPES))
    result.add_argument("--recipes", type=listed(), default=["paper", "default"])
    result.add_argument("--parts", type=listed(PARTS), default=list(PARTS[:-1]), help="all but compile by default")
    result.add_argument("--depths", type=listed(kind=int), default=[3, 6], help="layers of 70b")
    result.add_argument("--modegpt", type=pathlib.Path, default=HERE.parent / "modegpt", help="the launcher")
    result.add_argument("--device", default="cuda")
    result.add_argument("--limit", type=float, default=300, help="seconds of each command")
    return result


def main():
    # A time limit from outside ends the run as Ctrl-C does: what was measured is printed.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    bench = Bench(parser().parse_args())
    try:
        bench.run()
    except KeyboardInterrupt:
        bench.failures.append("the run was stopped")
    finally:
        bench.tables()
    sys.exit(1 if bench.failures else 0)


if __name__ == "__main__":
    main()
