#!/usr/bin/env python3
"""Writes the GGUF files of the tests with llama.cpp's own converter: `java/src/test/resources/gguf/NAME.gguf` with NAME.safetensors.

    PYTHONPATH=LLAMA:LLAMA/gguf-py V/bin/python tools/make_gguf.py --llama-cpp LLAMA

LLAMA is a llama.cpp checkout with build/bin/llama-quantize.
The models are those of make_families.py; NAME.safetensors has token ids and the logits that transformers computes from the weights in
the file, dequantised by the `gguf` package. What GGUF cannot say (Gemma's query_pre_attn_scalar, layers without rotary embedding) is set
to what llama.cpp assumes. Vocabularies are invented: byte-level BPE for the families that use it, SentencePiece pieces for the others.
"""

import argparse
import copy
import pathlib
import string
import subprocess
import tempfile

import gguf
import numpy as np
import torch
from safetensors.torch import save_file

import make_families

ROOT = make_families.ROOT
WIDE = dict(hidden_size=256, intermediate_size=256, num_hidden_layers=1, num_attention_heads=4, num_key_value_heads=2, head_dim=64)
NAMES = {
    "llama": dict(rope_parameters=dict(make_families.LLAMA3, original_max_position_embeddings=8192)),
    "gemma3": dict(num_hidden_layers=6, layer_types=["sliding_attention"] * 5 + ["full_attention"]),
    **{n: {} for n in ("mistral", "qwen2", "qwen3", "gemma", "gemma2", "smollm3", "phi3", "phi3-longrope", "olmo2", "gpt2", "gpt_neox")},
}
# Rows of 256 take K blocks; rows of 32 or 96 do not, and llama-quantize falls back to types with blocks of 32.
QUANTISED = {
    "qwen2-q4_k_m": ("qwen2-window", dict(WIDE, use_sliding_window=False), "Q4_K_M"),
    "qwen2-narrow-q4_k_m": ("qwen2-window", dict(use_sliding_window=False, hidden_size=96, intermediate_size=128), "Q4_K_M"),
    "qwen2-q2_k": ("qwen2-window", dict(WIDE, use_sliding_window=False), "Q2_K"),
    "qwen2-iq4_xs": ("qwen2-window", dict(WIDE, use_sliding_window=False), "IQ4_XS"),
    "qwen2-narrow-q3_k_m": ("qwen2-window", dict(use_sliding_window=False, hidden_size=96, intermediate_size=128), "Q3_K_M"),
    "gemma3-q4_k_m": ("gemma3", dict(WIDE, query_pre_attn_scalar=64, layer_types=["sliding_attention"]), "Q4_K_M"),
}
DECODED = ("Q2_K", "Q3_K", "IQ4_NL", "IQ4_XS")  # types that the engine reads as float16
# Where the blocks of a type have their float16 scales.
BLOCK_SCALES = {
    **dict(Q4_0=[0], Q4_1=[0, 2], Q5_0=[0], Q5_1=[0, 2], Q8_0=[0], IQ4_NL=[0]),
    **dict(Q2_K=[80, 82], Q3_K=[108], Q4_K=[0, 2], Q5_K=[0, 2], Q6_K=[208], IQ4_XS=[0]),
}
SENTENCE_PIECE = ("llama", "mistral", "gemma", "gemma2", "gemma3", "phi3")


def vocabulary(writer, family):
    """96 tokens: single characters and a few merges or pieces."""
    letters = list(string.ascii_letters + string.digits + string.punctuation)[:80]
    if family.split("-")[0] in SENTENCE_PIECE:
        pieces = ["<pad>", "<s>", "</s>", "<unk>", "▁", "▁t", "he", "▁the", "in"]
        pieces += letters + [f"<unused{i}>" for i in range(96 - 9 - 80)]
        types = [3, 3, 3, 2] + [1] * (96 - 4 - 7) + [5] * 7
        writer.add_tokenizer_model("llama")
        writer.add_tokenizer_pre("default")
        writer.add_token_list(pieces)
        writer.add_token_scores([0.0] * 4 + [-float(i) for i in range(92)])
        writer.add_token_types(types)
        writer.add_bos_token_id(1)
        writer.add_add_bos_token(True)
        writer.add_add_space_prefix(not family.startswith("gemma"))
    else:
        tokens = ["<pad>", "<s>", "</s>", "Ġ", "Ġt", "he", "Ġthe", "in"] + letters + [f"<unused{i}>" for i in range(96 - 8 - 80)]
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre("qwen2" if family.startswith("qwen") else "gpt-2")
        writer.add_token_list(tokens)
        writer.add_token_types([3, 3, 3] + [1] * 85 + [5] * 8)
        writer.add_token_merges(["Ġ t", "h e", "Ġt he", "i n"])
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(0)


def as_llama_cpp_runs_it(config):
    if hasattr(config, "query_pre_attn_scalar"):
        config.query_pre_attn_scalar = config.head_dim
    if config.model_type == "mistral":
        config.sliding_window = None
    return config


def network(name, overrides):
    class_name, settings = make_families.FAMILIES[name]
    settings = dict(settings, **overrides)
    torch.manual_seed(7)
    first = make_families.model(class_name, settings)
    config = as_llama_cpp_runs_it(first.config)
    config._attn_implementation = "eager"
    second = type(first)(config).float().eval()
    second.load_state_dict(first.state_dict())
    return second


def convert(model, name, out):
    import conversion

    with tempfile.TemporaryDirectory() as folder:
        copy.deepcopy(model).bfloat16().save_pretrained(folder)
        folder = pathlib.Path(folder)
        config = folder / "config.json"
        text = config.read_text()
        if name == "gpt2":
            text = text.replace('"n_positions": 64', '"n_positions": 64, "n_ctx": 64')
        config.write_text(text)
        cls = conversion.get_model_class(type(model).__name__)
        cls.set_vocab = lambda self: vocabulary(self.gguf_writer, name)
        if name.startswith("gemma"):  # it would cut the embedding to the size of a tokenizer file
            cls.modify_tensors = lambda self, data, tensor, bid: conversion.base.TextModel.modify_tensors(
                self, data + 1 if tensor.endswith("norm.weight") else data, tensor, bid)
        converter = cls(folder, gguf.LlamaFileType.MOSTLY_BF16, out)
        converter.hparams.setdefault("rotary_pct", 0.5)  # of gpt_neox; newer transformers call it otherwise
        converter.write()


def dequantise(model, path):
    """Puts the weights of a quantised file into the model; for families whose rows keep their order."""
    reader = gguf.GGUFReader(path)
    values = {t.name: torch.from_numpy(gguf.quants.dequantize(t.data, t.tensor_type).copy()) for t in reader.tensors}
    for t in reader.tensors:
        if t.tensor_type.name in DECODED:
            values[t.name] = values[t.name].half().float()
    architecture = reader.fields["general.architecture"].contents()
    arch = next(k for k, v in gguf.MODEL_ARCH_NAMES.items() if v == architecture)
    names = gguf.get_tensor_name_map(arch, model.config.num_hidden_layers)
    shift = 1.0 if architecture.startswith("gemma") else 0.0
    with torch.no_grad():
        for name, p in model.named_parameters():
            value = values[names.get_name(name, try_suffixes=(".weight", ".bias"))].reshape(p.shape)
            p.copy_(value - shift if name.endswith("norm.weight") else value)


def quantised_types(path):
    """golden/gguf-types.gguf: random blocks of every quantised type that is read, and what the `gguf` package makes of them."""
    random = np.random.default_rng(11)
    writer = gguf.GGUFWriter(path, "llama")
    for name, scales in BLOCK_SCALES.items():
        kind = gguf.GGMLQuantizationType[name]
        length, size = gguf.GGML_QUANT_SIZES[kind]
        blocks = random.integers(0, 256, (512 // length, size), dtype=np.uint8)
        for at in scales:  # float16, neither infinite nor NaN
            blocks[:, at : at + 2] = random.normal(0, 0.02, (len(blocks), 1)).astype(np.float16).view(np.uint8)
        data = blocks.reshape(2, -1)
        writer.add_tensor(name, data, raw_dtype=kind)
        writer.add_tensor(f"{name}.values", gguf.quants.dequantize(data, kind))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--llama-cpp", type=pathlib.Path, required=True)
    parser.add_argument("--output", type=pathlib.Path, default=ROOT / "java/src/test/resources/gguf")
    parser.add_argument("--only")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)

    def finish(model, path):
        tensors = make_families.golden(model)
        save_file({k: tensors[k] for k in ("ids", "logits")}, path.with_suffix(".safetensors"))
        types = sorted({t.tensor_type.name for t in gguf.GGUFReader(path).tensors})
        print(f"{path.stem}: {path.stat().st_size} bytes, {', '.join(types)}")

    if arguments.only in (None, "types"):
        quantised_types(ROOT / "java/src/test/resources/golden/gguf-types.gguf")
    for name, overrides in NAMES.items():
        if arguments.only in (None, name):
            model = network(name, overrides)
            convert(model, name, arguments.output / f"{name}.gguf")
            finish(model, arguments.output / f"{name}.gguf")
    for name, (family, overrides, kind) in QUANTISED.items():
        if arguments.only in (None, name):
            model = network(family, overrides)
            plain, path = arguments.output / f"{name}.tmp", arguments.output / f"{name}.gguf"
            convert(model, family, plain)
            tool = arguments.llama_cpp / "build/bin/llama-quantize"
            subprocess.run([tool, plain, path, kind], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            plain.unlink()
            dequantise(model, path)
            finish(model, path)


if __name__ == "__main__":
    main()
