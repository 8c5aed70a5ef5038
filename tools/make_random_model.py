#!/usr/bin/env python3
"""Writes a random LLaMA-shaped Hugging Face checkpoint of a given size, for measurements of memory and speed at scale.

    python3 tools/make_random_model.py OUTPUT --tokenizer java/demo/wiki-16m [--layers 16 --hidden 2048 --mlp 8192
            --heads 32 --kv-heads 8 --head-dim 64 --vocab 32000 --shard-bytes 500000000 --seed 0 --untied]

The defaults give 1.04 billion parameters (2.1 GB): block matrices 973 million, embedding 66 million, tied. Weights are bfloat16, normal
with variance 1/in (the residual outputs divided by sqrt(2 layers) besides), norms 1: activations stay finite at any depth. Matrices of
one kind are stretches of one pool of random numbers, so writing is all that takes time: seconds for 26 GB on a RAM disk. The output
is config.json, sharded safetensors with their index, and the tokenizer's files; its vocabulary must fit --vocab. Needs numpy only and
holds some hundred MiB. The same arguments give the same bytes. OUTPUT must not exist.
"""

import argparse
import concurrent.futures
import json
import pathlib
import shutil
import sys

import numpy as np

import checkpoints

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")
# Prime, so that no two rows of a matrix begin at the same number of its pool.
POOL = 4_194_301


def tensor_shapes(shape):
    """(name, shape, standard deviation or None for a norm) of every tensor in checkpoint order."""
    d, f = shape.hidden, shape.mlp
    q, kv = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    deep = (2 * shape.layers) ** -0.5
    yield "model.embed_tokens.weight", (shape.vocab, d), d**-0.5
    for layer in range(shape.layers):
        prefix = f"model.layers.{layer}."
        yield prefix + "input_layernorm.weight", (d,), None
        yield prefix + "self_attn.q_proj.weight", (q, d), d**-0.5
        yield prefix + "self_attn.k_proj.weight", (kv, d), d**-0.5
        yield prefix + "self_attn.v_proj.weight", (kv, d), d**-0.5
        yield prefix + "self_attn.o_proj.weight", (d, q), q**-0.5 * deep
        yield prefix + "post_attention_layernorm.weight", (d,), None
        yield prefix + "mlp.gate_proj.weight", (f, d), d**-0.5
        yield prefix + "mlp.up_proj.weight", (f, d), d**-0.5
        yield prefix + "mlp.down_proj.weight", (d, f), f**-0.5 * deep
    yield "model.norm.weight", (d,), None
    if shape.untied:
        yield "lm_head.weight", (shape.vocab, d), d**-0.5


def elements(shape):
    return int(np.prod(shape))


def shards(tensors, limit):
    """Groups consecutive tensors into files of at most `limit` bytes; a larger tensor gets a file of its own."""
    group, size = [], 0
    for tensor in tensors:
        bytes_ = 2 * elements(tensor[1])
        if group and size + bytes_ > limit:
            yield group
            group, size = [], 0
        group.append(tensor)
        size += bytes_
    yield group


class Pools:
    """Random weights as bfloat16 bits. Each kind of matrix (`q_proj`, ...) has a pool of its own, of one standard deviation."""

    def __init__(self, seed):
        self.generator = np.random.Generator(np.random.Philox(seed))
        self.pools = {}

    def pieces(self, name, shape, deviation):
        """Arrays that one after another are the weights of tensor `name`."""
        size = elements(shape)
        if deviation is None:
            return [checkpoints.float32_to_bf16(np.ones(size))]
        kind = name.split(".")[-2]
        if kind not in self.pools:
            values = self.generator.standard_normal(POOL, dtype=np.float32)
            self.pools[kind] = checkpoints.float32_to_bf16(values * np.float32(deviation))
        pool = self.pools[kind]
        start = int(self.generator.integers(POOL))
        first = pool[start : start + size]
        whole, rest = divmod(size - first.size, POOL)
        return [first] + [pool] * whole + [pool[:rest]]


def write_shard(path, group, pieces):
    entries = [(tensor, "BF16", shape, 2 * elements(shape)) for tensor, shape, _ in group]
    with open(path, "wb") as file:
        file.write(checkpoints.safetensors_header(entries, {"format": "pt"}))
        for tensor in pieces:
            for piece in tensor:
                file.write(piece.data)
    return sum(entry[3] for entry in entries)


def config(shape, end_token):
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": shape.hidden,
        "intermediate_size": shape.mlp,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "head_dim": shape.head_dim,
        "vocab_size": shape.vocab,
        "max_position_embeddings": 4096,
        "rms_norm_eps": 1e-05,
        "rope_theta": 10000.0,
        "hidden_act": "silu",
        "tie_word_embeddings": not shape.untied,
        "attention_bias": False,
        "mlp_bias": False,
        "bos_token_id": end_token,
        "eos_token_id": end_token,
        "torch_dtype": "bfloat16",
    }


def vocabulary_size(tokenizer):
    """One more than the largest id of a tokenizer.json."""
    data = json.loads((tokenizer / "tokenizer.json").read_text(encoding="utf-8"))
    vocabulary = data["model"]["vocab"]
    # Unigram models list [piece, score] pairs, BPE and WordPiece map piece to id.
    largest = max(vocabulary.values()) if isinstance(vocabulary, dict) else len(vocabulary) - 1
    return 1 + max([largest] + [token["id"] for token in data.get("added_tokens", [])])


def write_model(shape, tokenizer, output, seed=0, shard_bytes=500_000_000):
    """Writes the checkpoint beside `output` and renames it when complete; returns the number of parameters."""
    if vocabulary_size(tokenizer) > shape.vocab:
        raise ValueError(f"{tokenizer}: {vocabulary_size(tokenizer)} tokens do not fit a vocabulary of {shape.vocab}")
    if shape.heads % shape.kv_heads or shape.head_dim % 2:
        raise ValueError("--heads must be a multiple of --kv-heads, and --head-dim even")
    if output.exists():
        raise ValueError(f"{output} exists")
    folder = output.with_name(output.name + ".partial")
    folder.mkdir(parents=True)
    try:
        pools = Pools(seed)
        groups = list(shards(tensor_shapes(shape), shard_bytes))
        weight_map, written = {}, []
        with concurrent.futures.ThreadPoolExecutor() as threads:
            for number, group in enumerate(groups, start=1):
                name = f"model-{number:05d}-of-{len(groups):05d}.safetensors"
                weight_map |= {tensor: name for tensor, _, _ in group}
                pieces = [pools.pieces(*tensor) for tensor in group]
                written.append(threads.submit(write_shard, folder / name, group, pieces))
        total = sum(shard.result() for shard in written)
        index = {"metadata": {"total_size": total}, "weight_map": weight_map}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")
        tokens = json.loads((tokenizer / "config.json").read_text(encoding="utf-8")) if (tokenizer / "config.json").exists() else {}
        text = json.dumps(config(shape, tokens.get("eos_token_id", 0)), indent=1)
        (folder / "config.json").write_text(text + "\n", encoding="utf-8")
        for name in TOKENIZER_FILES:
            if (tokenizer / name).exists():
                shutil.copyfile(tokenizer / name, folder / name)
        folder.rename(output)
    except BaseException:
        shutil.rmtree(folder)
        raise
    return total // 2


def parser():
    result = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    result.add_argument("output", type=pathlib.Path)
    result.add_argument("--tokenizer", type=pathlib.Path, required=True, help="folder whose tokenizer files are copied")
    for name, default in (("layers", 16), ("hidden", 2048), ("mlp", 8192), ("heads", 32), ("kv-heads", 8), ("head-dim", 64),
                          ("vocab", 32000), ("shard-bytes", 500_000_000), ("seed", 0)):
        result.add_argument(f"--{name}", type=int, default=default)
    result.add_argument("--untied", action="store_true", help="an output matrix of its own")
    return result


def main():
    arguments = parser().parse_args()
    try:
        parameters = write_model(arguments, arguments.tokenizer, arguments.output, arguments.seed, arguments.shard_bytes)
    except (ValueError, OSError) as error:
        sys.exit(f"make_random_model: {error}")
    print(f"{arguments.output}: {parameters} parameters, {2 * parameters} bytes")


if __name__ == "__main__":
    main()
