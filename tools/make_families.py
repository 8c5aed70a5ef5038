#!/usr/bin/env python3
"""Writes tiny random models of every supported family with their logits: `java/src/test/resources/families/NAME/`.

    python3 -m venv V && V/bin/pip install torch transformers safetensors numpy
    V/bin/python tools/make_families.py

Each folder is a Hugging Face checkpoint as `transformers` saves it, and `golden.safetensors`: token ids, the logits of all positions in
float32, the residual stream before every layer, and per layer the column sums of squares of the inputs of attention and of the down
projection. Weights are random and none of them neutral: norms differ from one, biases from
zero. Sequences are longer than the sliding windows.
"""

import argparse
import json
import pathlib
import shutil

import torch
import transformers
from safetensors.torch import save_file

ROOT = pathlib.Path(__file__).resolve().parent.parent
TOKENS, VOCABULARY = 40, 96

COMMON = dict(vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2, intermediate_size=48,
              max_position_embeddings=64, bos_token_id=1, eos_token_id=2, pad_token_id=0)
HEAD = dict(COMMON, head_dim=16)
LLAMA3 = dict(rope_type="llama3", rope_theta=500000.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=16)
LINEAR = dict(rope_type="linear", rope_theta=10000.0, factor=4.0)
YARN = dict(rope_type="yarn", rope_theta=10000.0, factor=4.0, original_max_position_embeddings=16)
LONGROPE = dict(rope_type="longrope", rope_theta=10000.0, short_factor=[1.0, 1.1, 1.3, 1.5], long_factor=[1.0, 2.0, 4.0, 8.0])

FAMILIES = {
    "llama": ("Llama", dict(COMMON, rope_parameters=LLAMA3, tie_word_embeddings=False)),
    "llama-bias": ("Llama", dict(COMMON, attention_bias=True, mlp_bias=True, rope_parameters=LINEAR)),
    "mistral": ("Mistral", dict(COMMON, sliding_window=8)),
    "qwen2": ("Qwen2", dict(COMMON, rope_parameters=YARN, tie_word_embeddings=True)),
    "qwen2-window": ("Qwen2", dict(COMMON, use_sliding_window=True, sliding_window=8, max_window_layers=1)),
    "qwen3": ("Qwen3", dict(HEAD, num_hidden_layers=2)),
    "gemma": ("Gemma", dict(HEAD, num_hidden_layers=2)),
    "gemma2": ("Gemma2", dict(HEAD, sliding_window=8, query_pre_attn_scalar=24, attn_logit_softcapping=5.0, final_logit_softcapping=4.0)),
    "gemma3": ("Gemma3", dict(HEAD, sliding_window=8, query_pre_attn_scalar=24, layer_types=["sliding_attention", "full_attention", "sliding_attention"])),
    "smollm3": ("SmolLM3", dict(COMMON, num_hidden_layers=4, no_rope_layers=[1, 1, 1, 0])),
    "phi3": ("Phi3", dict(COMMON, sliding_window=24)),
    "phi3-longrope": ("Phi3", dict(COMMON, max_position_embeddings=128, original_max_position_embeddings=64, rope_parameters=LONGROPE)),
    "olmo2": ("Olmo2", dict(COMMON, num_hidden_layers=2)),
    "opt": ("OPT", dict(vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=3, num_attention_heads=4, ffn_dim=48, max_position_embeddings=64,
                        word_embed_proj_dim=32, bos_token_id=1, eos_token_id=2, pad_token_id=0)),
    "gpt2": ("GPT2", dict(vocab_size=VOCABULARY, n_embd=32, n_layer=3, n_head=4, n_positions=64, bos_token_id=1, eos_token_id=2)),
    "gpt_neox": ("GPTNeoX", dict({k: v for k, v in COMMON.items() if k != "num_key_value_heads"}, rotary_pct=0.5)),
    "gpt_neox-serial": ("GPTNeoX", dict({k: v for k, v in COMMON.items() if k != "num_key_value_heads"}, rotary_pct=0.25, use_parallel_residual=False)),
}


def model(class_name, settings):
    if class_name == "Gemma3":
        config, cls = transformers.Gemma3TextConfig(**settings), transformers.Gemma3ForCausalLM
    else:
        cls = getattr(transformers, class_name + ("LMHeadModel" if class_name == "GPT2" else "ForCausalLM"))
        config = cls.config_class(**settings)
    config._attn_implementation = "eager"  # the only one that applies the soft cap
    network = cls(config).float().eval()
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for name, p in network.named_parameters():
            value = torch.randn(p.shape, generator=generator)
            if p.ndim == 1 and name.endswith("weight"):
                offset = 0.0 if class_name.startswith("Gemma") else 1.0
                value = offset + 0.3 * value
            elif p.ndim == 1:
                value = 0.3 * value
            elif "embed" in name or "wte" in name or "wpe" in name:
                value = (0.4 if class_name.startswith("Gemma") else 0.6) * value
            else:
                value = 1.4 * value / 32 ** 0.5
            # Saved as bfloat16 and computed in float32: small files, no rounding between.
            p.copy_(value.bfloat16())
    return network


ATTENTION_INPUTS = ("q_proj", "qkv_proj", "attn.c_attn", "query_key_value")
MLP_INNERS = ("down_proj", "fc2", "mlp.c_proj", "dense_4h_to_h")


def golden(network):
    ids = (torch.arange(TOKENS) * 37 + 11) % VOCABULARY
    energies = {"attention_energy": [], "mlp_energy": []}

    def collect(key):
        return lambda module, inputs: energies[key].append(inputs[0].double().flatten(0, -2).pow(2).sum(0))

    for name, module in network.named_modules():
        if name.endswith(ATTENTION_INPUTS):
            module.register_forward_pre_hook(collect("attention_energy"))
        elif name.endswith(MLP_INNERS):
            module.register_forward_pre_hook(collect("mlp_energy"))
    with torch.inference_mode():
        out = network(ids[None], output_hidden_states=True)
    hidden = torch.stack([h[0] for h in out.hidden_states[:-1]])
    return {
        "ids": ids.to(torch.int32),
        "logits": out.logits[0].float().contiguous(),
        "hidden": hidden.flatten(1).contiguous(),
        **{key: torch.stack(values) for key, values in energies.items()},
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--output", type=pathlib.Path, default=ROOT / "java/src/test/resources/families")
    parser.add_argument("--only", choices=FAMILIES)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    for name, (class_name, settings) in FAMILIES.items():
        if arguments.only not in (None, name):
            continue
        network = model(class_name, settings)
        tensors = golden(network)
        folder = arguments.output / name
        shutil.rmtree(folder, ignore_errors=True)
        network.bfloat16().save_pretrained(folder)
        (folder / "generation_config.json").unlink(missing_ok=True)
        save_file(tensors, folder / "golden.safetensors", {"versions": f"torch {torch.__version__}, transformers {transformers.__version__}"})
        spread = tensors["logits"].std().item()
        print(f"{name}: {sum(f.stat().st_size for f in folder.iterdir())} bytes, logits {spread:.2f}, {json.dumps(settings)[:60]}")


if __name__ == "__main__":
    main()
