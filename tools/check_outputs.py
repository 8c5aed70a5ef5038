"""Checks outputs against the programs they are for, and prints a table: family by what was tried.

    python3 tools/check_outputs.py --llama-cpp BUILD/bin [--model NAME=PATH ...] > table.md

For every model (by default the tiny ones of the tests; `--model` adds real ones) the engine compresses it by 30 %, and then:

    load         the engine reads the original
    forward      its perplexity is that of transformers on the original (relative difference of the mean loss)
    compress     a compact folder is made; with normalised queries and keys another for the formats in the original's shapes, which
                 `compress --format` then writes
    engine       the engine reads that folder
    transformers AutoModelForCausalLM loads it with trust_remote_code; same loss, same greedy continuation with and without cache
    dense        the stock class loads the dense folder without remote code; largest difference of logits
    GGUF out     a GGUF file of the dense view is written in F32, Q8_0 and Q4_0
    GGUF in      the engine reads the F32 file; the same loss
    llama.cpp    llama-perplexity on the F32 file: its perplexity against transformers' by llama.cpp's rule

A cell is a figure, `ok`, or the reason why it is not possible; what fails says FAILED and the exit code is 1.
Needs torch and transformers (4.57 or 5) for those columns, and the tools of llama.cpp for the last; without them the cells say so.
Models without a tokenizer are given one of bytes.
"""

import argparse
import json
import math
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
FAMILIES = ROOT / "java/src/test/resources/families"
COLUMNS = ["load", "forward", "compress", "engine", "transformers", "dense", "GGUF out", "GGUF in", "llama.cpp"]


class Impossible(Exception):
    """A combination that the program refuses with a reason."""


def run(*command, environment=None):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, env=environment)
    if done.returncode != 0:
        message = next((line for line in done.stderr.splitlines() if line.startswith("modegpt: ")), done.stderr[-300:])
        raise Impossible(message.replace("modegpt: ", "").strip())
    return done.stdout, done.stderr


def engine(*arguments):
    return run(ROOT / "modegpt", *arguments)[0]


def byte_tokenizer(size):
    """A tokenizer.json whose tokens are the printable bytes that fit, for models that have none."""
    characters = [chr(c) for c in range(33, 127)][: size - 1]
    vocabulary = {"Ġ": 0} | {c: i + 1 for i, c in enumerate(characters)}
    step = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    return {
        "version": "1.0",
        "added_tokens": [],
        "normalizer": None,
        "pre_tokenizer": step,
        "post_processor": None,
        "decoder": step,
        "model": {"type": "BPE", "vocab": vocabulary, "merges": [], "unk_token": None, "fuse_unk": False, "byte_fallback": False},
    }


class Model:
    def __init__(self, name, path, work, arguments):
        self.name, self.work, self.arguments = name, work / name, arguments
        self.work.mkdir(parents=True)
        self.path = pathlib.Path(path)
        self.tiny = self.path.parent == FAMILIES
        if self.tiny:
            copy = self.work / "original"
            shutil.copytree(self.path, copy)
            config = json.loads((copy / "config.json").read_text())
            if config.get("rope_parameters", {}).get("rope_type") == "longrope":
                # llama.cpp rounds contexts up to 256: it would always take the factors for long texts.
                config["max_position_embeddings"] *= 8
                config["original_max_position_embeddings"] *= 8
                config["rope_parameters"]["original_max_position_embeddings"] *= 8
                (copy / "config.json").write_text(json.dumps(config))
            (copy / "tokenizer.json").write_text(json.dumps(byte_tokenizer(config["vocab_size"])))
            (copy / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}')
            self.path = copy
        self.text = self.work / "text.txt"
        words = arguments.text.read_text(encoding="utf-8")
        if self.tiny:
            words = re.sub(r"[^a-z ]", "", words.lower())
        self.text.write_text(words[: 6000 if self.tiny else 40000], encoding="utf-8")
        self.length = 24 if self.tiny else 512
        self.compact, self.dense = self.work / "compact", self.work / "dense"
        self.whole = self.compact  # the compact model that computes what dense and GGUF do

    def loss(self, path):
        out = engine("perplexity", path, "-f", self.text, "-c", self.length, "--chunks", 4, "--json", "-q")
        return json.loads(out)["mean_nll"]

    # ---- what transformers says

    def load(self, path, **options):
        import torch
        import transformers

        transformers.logging.set_verbosity_error()
        return transformers.AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32, **options).eval()

    def ids(self):
        import tokenizers

        tokenizer = tokenizers.Tokenizer.from_file(str(self.compact / "tokenizer.json"))
        return tokenizer.encode(self.text.read_text(encoding="utf-8"), add_special_tokens=False).ids

    def reference_loss(self, model, first=1, blocks=4):
        """Mean loss over the first blocks, of the tokens from `first` on: 1, or the half of a block as llama.cpp."""
        import torch

        ids, total, count = self.ids(), 0.0, 0
        for b in range(blocks):
            block = torch.tensor([ids[b * self.length : (b + 1) * self.length]])
            with torch.no_grad():
                logits = model(block).logits[0, first - 1 : -1].double()
            targets = block[0, first:]
            total += torch.nn.functional.cross_entropy(logits, targets, reduction="sum").item()
            count += len(targets)
        return total / count

    # ---- the columns

    def cells(self):
        yield "load", lambda: engine("inspect", self.path, "--json") and "ok"
        yield "forward", self.forward
        yield "compress", self.compress
        yield "engine", lambda: "%.4f" % self.loss(self.compact)
        yield "transformers", self.transformers
        yield "dense", self.stock
        yield "GGUF out", self.gguf
        yield "GGUF in", lambda: self.close(self.loss(self.work / "f32.gguf"), self.loss(self.whole), 1e-4)
        yield "llama.cpp", self.llama

    @staticmethod
    def close(got, wanted, tolerance):
        difference = abs(got / wanted - 1)
        return ("%.0e" if difference <= tolerance else "FAILED %.1e") % difference

    def forward(self):
        if self.path.is_file():
            return "GGUF"
        import tokenizers  # noqa: F401

        shutil.copytree(self.path, self.compact, dirs_exist_ok=True)  # for the tokenizer
        reference = self.reference_loss(self.load(self.path))
        shutil.rmtree(self.compact)
        return self.close(self.loss(self.path), reference, 1e-4)

    def shrink(self, out, *options, recipe=None):
        calibration = ["--calibration", self.text, "--num-calibration-samples", 8, "--max-seq-length", self.length]
        recipe = ["--recipe", recipe or self.arguments.recipe]
        engine("compress", self.path, "--ratio", 0.3, *recipe, *calibration, "-o", out, *options, "--no-eval", "--no-record", "-q")

    def compress(self):
        self.shrink(self.compact)
        if "qk_norm" in json.loads((self.compact / "config.json").read_text())["modegpt"]:
            self.whole = self.work / "whole"
            recipe = self.work / "whole.json"
            recipe.write_text(json.dumps({"name": self.arguments.recipe, "query_key": "keep"}))
            self.shrink(self.whole, "--dtype", "f32", recipe=recipe)
        return "ok"

    def made_again(self):
        """Whether a compact model has no dense form, so that `compress` makes the other formats."""
        return self.whole != self.compact

    def transformers(self):
        import torch

        model = self.load(self.compact, trust_remote_code=True)
        prompt = torch.tensor([self.ids()[:8]])
        greedy = [model.generate(prompt, max_new_tokens=12, do_sample=False, use_cache=c, pad_token_id=0) for c in (True, False)]
        if not torch.equal(*greedy):
            return "FAILED: cache"
        return self.close(self.reference_loss(model), self.loss(self.compact), 1e-4)

    def stock(self):
        import torch

        if self.made_again():
            self.shrink(self.dense, "--format", "dense", "--dtype", "f32")
        else:
            engine("convert", self.compact, "-o", self.dense, "--format", "dense", "--dtype", "f32", "-q")
        stock, compact = self.load(self.dense), self.load(self.whole, trust_remote_code=True)
        prompt = torch.tensor([self.ids()[: self.length]])
        with torch.no_grad():
            difference = (stock(prompt).logits - compact(prompt).logits).abs().max().item()
        return ("%s %.0e" if difference < 1e-3 else "FAILED %s %.1e") % (type(stock).__name__, difference)

    def gguf(self):
        types = ("f32", "q8_0", "q4_0")
        if self.made_again():
            self.shrink(self.work / "gguf", "--format", "gguf", "--dtype", ",".join(types))
            for dtype in types:
                (self.work / f"gguf-{dtype}.gguf").rename(self.work / f"{dtype}.gguf")
        else:
            for dtype in types:
                engine("convert", self.compact, "-o", self.work / f"{dtype}.gguf", "--dtype", dtype, "-q")
        context = json.loads(engine("inspect", self.work / "f32.gguf", "--json"))["context_length"]
        limited = context < self.length
        self.length = min(self.length if limited or not self.tiny else 32, context)  # llama.cpp wants some tokens
        return f"context {context}" if limited else "ok"

    def llama(self):
        tools = self.arguments.llama_cpp
        if tools is None:
            raise Impossible("no --llama-cpp")
        command = [tools / "llama-perplexity", "-m", self.work / "f32.gguf", "-f", self.text, "-c", self.length, "-t", 1, "-b", self.length]
        found = re.findall(r"\[(\d+)\]([0-9.]+),", "".join(run(*command)))
        if not found:
            return "FAILED: no estimate"
        blocks, perplexity = found[-1]  # so far: the program may end before all it said is written
        model = self.load(self.whole, trust_remote_code=True)
        reference = math.exp(self.reference_loss(model, self.length // 2 + 1, int(blocks)))
        return self.close(float(perplexity), reference, 1e-2)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--llama-cpp", type=pathlib.Path, help="folder of llama.cpp's programs")
    parser.add_argument("--model", action="append", default=[], metavar="NAME=PATH")
    parser.add_argument("--only", help="a regular expression of names")
    parser.add_argument("--recipe", default="paper")
    parser.add_argument("--text", type=pathlib.Path, default=ROOT / "java/demo/text/wikitext2.test.txt")
    arguments = parser.parse_args()
    models = {p.name: p for p in sorted(FAMILIES.iterdir())} | dict(m.split("=", 1) for m in arguments.model)
    failed = False
    print("| model | " + " | ".join(COLUMNS) + " |")
    print("|---" * (len(COLUMNS) + 1) + "|")
    with tempfile.TemporaryDirectory() as work:
        for name, path in models.items():
            if arguments.only and not re.fullmatch(arguments.only, name):
                continue
            row, reason, file = [], None, True
            for column, cell in Model(name, path, pathlib.Path(work), arguments).cells():
                if reason or (not file and column in ("GGUF in", "llama.cpp")):
                    row.append("-")
                    continue
                try:
                    value = cell()
                except Impossible as e:
                    value = str(e)
                    reason = column if column in ("load", "compress") else None
                    file = column != "GGUF out"
                except ImportError as e:
                    value = f"{e.name} is not installed"
                except Exception as e:  # a row must not end the table, and must not pass
                    value = f"FAILED: {type(e).__name__}: {e}".replace("\n", " ")[:200]
                failed |= value.startswith("FAILED")
                row.append(value)
            print(f"| {name} | " + " | ".join(row) + " |", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main())
