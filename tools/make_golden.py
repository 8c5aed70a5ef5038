#!/usr/bin/env python3
"""Writes the golden files of the tests from the real models: `java/src/test/resources/golden/*.safetensors`.

    python3 -m venv V && V/bin/pip install torch transformers safetensors tokenizers gguf numpy
    V/bin/python tools/make_golden.py [--models ../shared/models] [--text ../shared/data/text/wikitext2-raw.test.rows-joined.txt]

Logits come from `transformers` in float32 on the CPU; hidden states, statistics and decompositions from `reference.py` in float64.
Both are compared here first, and nothing is written when they disagree by more than 2e-3. The folder's README lists every tensor.
Same inputs, --threads, library versions and kind of CPU give the same bytes.
"""

import argparse
import os
import pathlib

# Before numpy loads: its BLAS splits sums by threads, and the bytes must not depend on how many there are.
os.environ["OPENBLAS_NUM_THREADS"] = "1"

import numpy as np

import checkpoints
import reference

ROOT = pathlib.Path(__file__).resolve().parent.parent
MODELS = {
    "stories260K": ("stories260K", "Once upon a time"),
    "wiki-16m": ("wiki-16m", "The city of Vienna is the capital of"),
    "smollm2-135m": ("smollm2-135m/SmolLM2-135M-Instruct.Q4_1.gguf", "The city of Vienna is the capital of"),
}
TOKENS, FULL_ROWS, SAMPLED_COLUMNS, GREEDY = 256, 4, 48, 32
HIDDEN_ROWS, HIDDEN_COLUMNS = (0, 1, 17, 128, 255), 48


def transformers_model(model):
    import torch
    import transformers

    config = transformers.LlamaConfig(**{k: v for k, v in model.config.items() if k not in ("torch_dtype", "dtype")})
    with torch.device("meta"):
        network = transformers.LlamaForCausalLM(config)
    state = {name: torch.from_numpy(value) for name, value in model.weights.items()}
    if config.tie_word_embeddings:
        state["lm_head.weight"] = state["model.embed_tokens.weight"]
    # Buffers (rotary frequencies) are not in a checkpoint: build them on the CPU, then swap the weights in.
    network.to_empty(device="cpu")
    network.model.rotary_emb = type(network.model.rotary_emb)(config)
    network.load_state_dict(state, strict=True, assign=True)
    return network.eval()


def greedy(network, prompt):
    """Ids of GREEDY greedy tokens and the smallest gap between the best and second-best logit on the way: a float32 engine whose
    logits are within half of it must produce the same ids."""
    import torch

    ids, gap = list(prompt), np.inf
    for _ in range(GREEDY):
        best = torch.topk(network(torch.tensor([ids])).logits[0, -1], 2)
        gap = min(gap, float(best.values[0] - best.values[1]))
        ids.append(int(best.indices[0]))
    return ids[len(prompt):], gap


def logits_file(model, text, prompt):
    import torch
    import transformers

    ids = model.tokenise(text[:8 * TOKENS])[:TOKENS]
    # The text was cut before tokenising: the ids must be those of the whole text.
    if not np.array_equal(ids, model.tokenise(text[:16 * TOKENS])[:TOKENS]):
        raise SystemExit(f"{model.name}: {TOKENS} tokens do not fit the cut text")
    network = transformers_model(model)
    with torch.inference_mode():
        logits = network(torch.from_numpy(ids)[None]).logits[0].numpy()
        prompt_ids = model.tokenise(prompt)
        greedy_ids, gap = greedy(network, prompt_ids)
    x = reference.embed(model, ids)
    hidden = [x]
    for index in range(model.config["num_hidden_layers"]):
        x, _ = reference.block(model, index, x)
        hidden.append(x)
    exact = reference.logits(model, x)
    difference = float(np.abs(logits - exact).max())
    if difference > 2e-3:
        raise SystemExit(f"{model.name}: transformers and reference.py differ by {difference:.2e}")
    wide = logits.astype(np.float64)
    largest = wide.max(axis=1)
    columns = np.linspace(0, logits.shape[1] - 1, SAMPLED_COLUMNS).round().astype(np.int32)
    hidden_columns = np.linspace(0, x.shape[1] - 1, HIDDEN_COLUMNS).round().astype(np.int32)
    tensors = {
        "ids": ids.astype(np.int32),
        "last_logits": logits[-FULL_ROWS:],
        "logsumexp": largest + np.log(np.exp(wide - largest[:, None]).sum(axis=1)),
        "argmax": logits.argmax(axis=1).astype(np.int32),
        "argmax_gap": (lambda top: top[:, 1] - top[:, 0])(np.partition(logits, -2, axis=1)[:, -2:]),
        "target_logits": logits[np.arange(TOKENS - 1), ids[1:]],
        "columns": columns,
        "column_logits": logits[:, columns],
        "hidden_rows": np.array(HIDDEN_ROWS, dtype=np.int32),
        "hidden_columns": hidden_columns,
        "hidden": np.stack(hidden)[:, HIDDEN_ROWS][:, :, hidden_columns].astype(np.float32),
        "prompt_ids": prompt_ids.astype(np.int32),
        "greedy_ids": np.array(greedy_ids, dtype=np.int32),
    }
    metadata = {
        "model": model.name,
        "model_sha256": model.sha256,
        "text": "first tokens of WikiText-2 raw test, rows joined, no BOS",
        "prompt": prompt,
        "greedy_text": model.tokenizer().decode(greedy_ids, skip_special_tokens=False),
        "greedy_smallest_gap": f"{gap:.6g}",
        "nll": f"{(tensors['logsumexp'][:-1] - tensors['target_logits']).mean():.9f}",
        "max_difference_to_float64": f"{difference:.3e}",
        "versions": f"torch {torch.__version__}, transformers {transformers.__version__}, numpy {np.__version__}",
    }
    return tensors, metadata


def lower(matrix):
    """The lower triangle row by row: (0,0) (1,0) (1,1) (2,0) ..."""
    return matrix[np.tril_indices(len(matrix))]


def statistics_file(model, text):
    ids = model.tokenise(text[:4096])[:TOKENS].reshape(2, -1)
    layers = reference.statistics(model, ids)
    tensors = {"ids": ids.astype(np.int32)}
    for index, layer in enumerate(layers):
        for name, value in layer.items():
            if name.endswith("gram"):
                tensors[f"layers.{index}.{name}"] = lower(value)
            elif name.endswith("energy"):
                tensors[f"layers.{index}.{name}"] = value
    tensors["influence"] = np.array([layer["influence"] for layer in layers])
    for percent, epsilon in ((20, 0.04), (30, 0.04), (50, 0.01)):
        tensors[f"allocation.{percent}.{epsilon}"] = reference.allocate(tensors["influence"], percent / 100, epsilon, 0.8)
    metadata = {"model": model.name, "model_sha256": model.sha256, "sequences": "2", "tokens": str(ids.size)}
    return tensors, metadata, layers


RELATIVE_RIDGE = 1e-2
MLP_RANKS, PAIRS, VALUE_RANKS = (86, 138), (2, 3), (2, 4, 6)
MLP_LAYERS, PRODUCT_LAYER, PRODUCT_RANK = (0, 2, 4), 2, 4


def decompositions_file(model, layers):
    config = model.config
    heads, kv_heads, size = config["num_attention_heads"], config["num_key_value_heads"], config["head_dim"]
    group = heads // kv_heads
    tensors = {}
    for index, layer in enumerate(layers):
        prefix = f"layers.{index}"
        tensors[f"{prefix}.mlp.scores"] = reference.ridge_leverage(layer["mlp_gram"], RELATIVE_RIDGE)
        down = model.layer(index, "mlp.down_proj").astype(np.float64).T
        for rank in MLP_RANKS:
            kept, refitted = reference.nystrom(layer["mlp_gram"], down, rank, RELATIVE_RIDGE)
            tensors[f"{prefix}.mlp.{rank}.kept"] = kept.astype(np.int32)
            if index in MLP_LAYERS:
                tensors[f"{prefix}.mlp.{rank}.down"] = refitted
        scores = reference.pair_scores(layer["q_energy"], layer["k_energy"], heads, kv_heads)
        tensors[f"{prefix}.qk.scores"] = scores
        for pairs in PAIRS:
            kept = reference.column_row(layer["q_energy"], layer["k_energy"], heads, kv_heads, pairs)
            tensors[f"{prefix}.qk.{pairs}.kept"] = kept.astype(np.int32)
        value = model.layer(index, "self_attn.v_proj").astype(np.float64).T.reshape(-1, kv_heads, size)
        output = model.layer(index, "self_attn.o_proj").astype(np.float64).T.reshape(kv_heads, group, size, -1)
        root = reference.symmetric_power(layer["input_gram"], 0.5)
        for rule in ("separate", "published", "joint"):
            for rank in VALUE_RANKS:
                results = [reference.value_output(layer["input_gram"], value[:, j], output[j], rank, rule) for j in range(kv_heads)]
                products = np.stack([product for product, _ in results])
                exact = np.einsum("djh,jghe->jgde", value, output)
                tensors[f"{prefix}.vo.{rule}.{rank}.errors"] = np.linalg.norm(root @ (exact - products), axis=(2, 3))
                if rank == PRODUCT_RANK and index == PRODUCT_LAYER:
                    tensors[f"{prefix}.vo.{rule}.{rank}.products"] = products.astype(np.float32)
            tensors[f"{prefix}.vo.{rule}.singular_values"] = np.stack([spectrum for _, spectrum in results])
    return tensors, {"model": model.name, "model_sha256": model.sha256, "relative_ridge": str(RELATIVE_RIDGE)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--models", type=pathlib.Path, default=ROOT / "../shared/models")
    parser.add_argument("--text", type=pathlib.Path, default=ROOT / "../shared/data/text/wikitext2-raw.test.rows-joined.txt")
    parser.add_argument("--output", type=pathlib.Path, default=ROOT / "java/src/test/resources/golden")
    parser.add_argument("--only", choices=MODELS, help="just this model")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()

    import torch

    torch.set_num_threads(arguments.threads)
    torch.use_deterministic_algorithms(True)
    text = arguments.text.read_text(encoding="utf-8")
    arguments.output.mkdir(parents=True, exist_ok=True)

    def write(name, tensors, metadata):
        path = arguments.output / f"{name}.safetensors"
        checkpoints.write_safetensors(path, tensors, metadata)
        print(f"{path.name}: {path.stat().st_size} bytes; " + "; ".join(f"{k} {v}" for k, v in metadata.items()))

    for name, (path, prompt) in MODELS.items():
        if arguments.only not in (None, name):
            continue
        model = checkpoints.load(arguments.models / path)
        write(f"{name}-logits", *logits_file(model, text, prompt))
        if name == "stories260K":
            tensors, metadata, layers = statistics_file(model, text)
            write(f"{name}-statistics", tensors, metadata)
            write(f"{name}-decompositions", *decompositions_file(model, layers))


if __name__ == "__main__":
    main()
