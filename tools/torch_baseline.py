#!/usr/bin/env python3
"""The calibration's arithmetic in PyTorch on the CPU, as a yardstick of speed; and the perplexity of the dense model.

    V/bin/python tools/torch_baseline.py MODEL --text FILE [--sequences 8] [--length 2048] [--threads 2] [--parts]
    V/bin/python tools/torch_baseline.py MODEL --text FILE --perplexity [--length 2048] [--sequences 0 for all]

MODEL is a Hugging Face folder or a GGUF file of the llama architecture; V a venv as in make_golden.py. Calibration runs float32
blocks layer by layer over N x length tokens with scaled_dot_product_attention and adds, per layer, the Gram matrices of the
attention input and of the input of the down projection (a float32 product per sequence, added to float64) and the column energies of
q and k: no more work than the engine does, written as one would in PyTorch. Tokens go in whole blocks of the joined text, no BOS;
a shorter last block is dropped. One warm-up sequence through the first block is not timed; reading the model is not timed.
--parts times linears, attention, Gram products and the rest one by one.
"""

import argparse
import contextlib
import json
import pathlib
import time

import numpy as np
import torch
import torch.nn.functional as F

import checkpoints


class Clock:
    """Adds up seconds by part; does nothing unless enabled."""

    def __init__(self, enabled):
        self.enabled, self.seconds = enabled, {}

    @contextlib.contextmanager
    def part(self, name):
        start = time.perf_counter()
        yield
        if self.enabled:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start


class Blocks:
    def __init__(self, model):
        self.config = model.config
        self.weights = {name: torch.from_numpy(value) for name, value in model.weights.items()}

    def layer(self, index, part):
        return self.weights[f"model.layers.{index}.{part}.weight"]

    def rotary(self, length):
        half = self.config["head_dim"] // 2
        frequencies = self.config["rope_theta"] ** (-torch.arange(half, dtype=torch.float64) / half)
        angles = torch.arange(length, dtype=torch.float64)[:, None] * torch.cat([frequencies, frequencies])
        return angles.cos().float(), angles.sin().float()

    def norm(self, x, weight):
        return F.rms_norm(x, x.shape[-1:], weight, self.config["rms_norm_eps"])

    def forward(self, index, x, rotary, clock, statistics=None):
        """One block on x [T, d]; adds to `statistics` when given."""
        heads, kv_heads = self.config["num_attention_heads"], self.config["num_key_value_heads"]

        def split(value, count):
            return value.view(1, len(value), count, -1).transpose(1, 2)

        def rotate(value):
            first, second = value.chunk(2, dim=-1)
            return value * rotary[0] + torch.cat([-second, first], dim=-1) * rotary[1]

        with clock.part("rest"):
            inner = self.norm(x, self.layer(index, "input_layernorm"))
        with clock.part("linears"):
            q, k, v = (F.linear(inner, self.layer(index, f"self_attn.{p}_proj")) for p in "qkv")
        if statistics is not None:
            with clock.part("gram"):
                statistics.input_gram += inner.T @ inner
            with clock.part("energies"):
                statistics.q_energy += q.square().sum(dim=0)
                statistics.k_energy += k.square().sum(dim=0)
        with clock.part("rest"):
            q, k, v = rotate(split(q, heads)), rotate(split(k, kv_heads)), split(v, kv_heads)
        with clock.part("attention"):
            z = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=heads != kv_heads)
        with clock.part("rest"):
            z = z.transpose(1, 2).reshape(len(x), -1)
        with clock.part("linears"):
            x = x + F.linear(z, self.layer(index, "self_attn.o_proj"))
        with clock.part("rest"):
            inner = self.norm(x, self.layer(index, "post_attention_layernorm"))
        with clock.part("linears"):
            gate, up = F.linear(inner, self.layer(index, "mlp.gate_proj")), F.linear(inner, self.layer(index, "mlp.up_proj"))
        with clock.part("rest"):
            hidden = F.silu(gate) * up
        if statistics is not None:
            with clock.part("gram"):
                statistics.mlp_gram += hidden.T @ hidden
        with clock.part("linears"):
            return x + F.linear(hidden, self.layer(index, "mlp.down_proj"))


class Statistics:
    """Sums of one layer, float64."""

    def __init__(self, config):
        d, f, h = config["hidden_size"], config["intermediate_size"], config["head_dim"]
        self.input_gram = torch.zeros(d, d, dtype=torch.float64)
        self.mlp_gram = torch.zeros(f, f, dtype=torch.float64)
        self.q_energy = torch.zeros(config["num_attention_heads"] * h, dtype=torch.float64)
        self.k_energy = torch.zeros(config["num_key_value_heads"] * h, dtype=torch.float64)
        self.cosine, self.tokens = 0.0, 0

    def influence(self):
        return 1.0 - self.cosine / self.tokens


def calibrate(blocks, sequences, clock, consume=None):
    """Runs all layers; `consume(index, statistics)` gets each layer's sums as soon as they are complete."""
    config = blocks.config
    rotary = blocks.rotary(sequences.shape[1])
    with clock.part("rest"):
        streams = [F.embedding(ids, blocks.weights["model.embed_tokens.weight"]) for ids in sequences]
    for index in range(config["num_hidden_layers"]):
        statistics = Statistics(config)
        for s, x in enumerate(streams):
            y = blocks.forward(index, x, rotary, clock, statistics)
            with clock.part("rest"):
                statistics.cosine += F.cosine_similarity(x, y, dim=1).double().sum().item()
                statistics.tokens += len(x)
            streams[s] = y
        if consume:
            consume(index, statistics)


def perplexity(blocks, sequences, report=None):
    """(mean NLL in nats per predicted token, predicted tokens); each block predicts its tokens but the first."""
    rotary, clock = blocks.rotary(sequences.shape[1]), Clock(False)
    head = blocks.weights.get("lm_head.weight", blocks.weights["model.embed_tokens.weight"])
    total, count = 0.0, 0
    for ids in sequences:
        x = F.embedding(ids, blocks.weights["model.embed_tokens.weight"])
        for index in range(blocks.config["num_hidden_layers"]):
            x = blocks.forward(index, x, rotary, clock)
        x = blocks.norm(x, blocks.weights["model.norm.weight"])
        for rows, targets in zip(x[:-1].split(512), ids[1:].split(512)):
            total += F.cross_entropy(F.linear(rows, head), targets, reduction="sum").item()
        count += len(ids) - 1
        if report:
            report(total / count, count)
    return total / count, count


def token_blocks(model, text, length, count):
    """[S, length] ids of the first `count` whole blocks (0: all) of the text, no BOS."""
    ids = model.tokenise(text)
    available = len(ids) // length
    if available < max(count, 1):
        raise SystemExit(f"the text has {available} blocks of {length} tokens, {max(count, 1)} are needed")
    blocks = count or available
    return torch.from_numpy(ids[: blocks * length].reshape(blocks, length))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("--text", type=pathlib.Path, required=True)
    parser.add_argument("--sequences", type=int, default=8, help="blocks of tokens; 0 takes the whole text")
    parser.add_argument("--length", type=int, default=2048)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--perplexity", action="store_true", help="perplexity instead of calibration")
    parser.add_argument("--parts", action="store_true", help="time the parts too")
    arguments = parser.parse_args()

    torch.set_num_threads(arguments.threads)
    model = checkpoints.load(arguments.model)
    text = arguments.text.read_text(encoding="utf-8")
    sequences = token_blocks(model, text, arguments.length, arguments.sequences)
    blocks = Blocks(model)
    result = {
        "model": model.name,
        "text": arguments.text.name,
        "blocks": len(sequences),
        "length": arguments.length,
        "bos": False,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }
    with torch.inference_mode():
        clock = Clock(arguments.parts)
        blocks.forward(0, F.embedding(sequences[0], blocks.weights["model.embed_tokens.weight"]),
                       blocks.rotary(arguments.length), Clock(False), Statistics(model.config))
        start = time.perf_counter()
        if arguments.perplexity:
            nll, predicted = perplexity(blocks, sequences)
            used = model.tokenizer().decode(sequences.flatten().tolist(), skip_special_tokens=False)
            result |= {
                "perplexity": round(float(np.exp(nll)), 4),
                "nll_per_token": round(nll, 6),
                "predicted_tokens": predicted,
                "bits_per_byte": round(nll * sequences.numel() / len(used.encode()) / np.log(2), 4),
            }
        else:
            calibrate(blocks, sequences, clock)
        seconds = time.perf_counter() - start
    result |= {"seconds": round(seconds, 3), "tokens_per_second": round(sequences.numel() / seconds, 1)}
    if clock.seconds:
        result["part_seconds"] = {name: round(value, 3) for name, value in sorted(clock.seconds.items())}
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
