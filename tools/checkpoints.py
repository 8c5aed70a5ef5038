"""Reads LLaMA-architecture checkpoints as float32 numpy arrays, for the reference tools.

`load(path)` takes a Hugging Face folder (config.json, *.safetensors) or a GGUF file and returns a `Checkpoint`: the fields of
`config.json` the reference needs, the weights under their Hugging Face names and layout ([out, in], rotate-half rotary pairs) and
a `tokenizers.Tokenizer`. Needs numpy; `tokenizers` for the tokenizer and `gguf` for GGUF files.

Independent on purpose of the engine's own readers: it is what they are checked against.
"""

import dataclasses
import hashlib
import json
import pathlib
import struct

import numpy as np

# Byte ids of the GPT-2 family pre-tokenisers this reader knows, by `tokenizer.ggml.pre`: does it split digits one by one?
GGUF_SPLITS_DIGITS = {"gpt-2": False, "smollm": True}


@dataclasses.dataclass
class Checkpoint:
    """A model in memory. Shapes: d hidden, f mlp, h head size; `weights` maps Hugging Face names to float32 [out, in]."""

    name: str
    config: dict
    weights: dict
    tokenizer_source: object
    sha256: str

    def tokenizer(self):
        return self.tokenizer_source()

    def tokenise(self, text):
        """Token ids of `text` without BOS or other special tokens, int64 [N]."""
        return np.array(self.tokenizer().encode(text, add_special_tokens=False).ids, dtype=np.int64)

    def layer(self, index, part):
        """One matrix or vector of a block, e.g. layer(0, "self_attn.q_proj")."""
        return self.weights[f"model.layers.{index}.{part}.weight"]


def load(path):
    path = pathlib.Path(path)
    return _load_gguf(path) if path.is_file() else _load_folder(path)


def file_sha256(*paths):
    digest = hashlib.sha256()
    for path in paths:
        with open(path, "rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    return digest.hexdigest()


# ---- safetensors -----------------------------------------------------------------------------------------------------------

SAFETENSORS_DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I32": "<i4", "I64": "<i8"}


def read_safetensors(path):
    """(tensors, metadata) of one file; BF16 is widened to float32, everything else keeps its type."""
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
        data = np.memmap(path, dtype=np.uint8, mode="r", offset=8 + length)
    metadata = header.pop("__metadata__", {})
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        values = data[begin:end].view(SAFETENSORS_DTYPES[entry["dtype"]]).reshape(entry["shape"])
        tensors[name] = bf16_to_float32(values) if entry["dtype"] == "BF16" else np.array(values)
    return tensors, metadata


def bf16_to_float32(bits):
    return (bits.astype(np.uint32) << 16).view(np.float32)


def float32_to_bf16(values):
    """Bits (uint16) of float32 values rounded to nearest even; the values must be finite."""
    bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def safetensors_header(entries, metadata=None):
    """Length prefix and JSON header, padded to 8 bytes, for entries (name, dtype, shape, bytes) in file order."""
    header = {"__metadata__": metadata} if metadata else {}
    offset = 0
    for name, dtype, shape, size in entries:
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text


def write_safetensors(path, tensors, metadata=None):
    """Writes arrays of float64, float32, int32 or int64 in the order given: the same input gives the same bytes."""
    names = {np.dtype(code): name for name, code in SAFETENSORS_DTYPES.items() if name != "BF16"}
    arrays = {name: np.ascontiguousarray(value) for name, value in tensors.items()}
    path = pathlib.Path(path)
    temporary = path.with_name(path.name + ".partial")
    with open(temporary, "wb") as file:
        file.write(safetensors_header(((n, names[a.dtype], a.shape, a.nbytes) for n, a in arrays.items()), metadata))
        for array in arrays.values():
            file.write(array.tobytes())
    temporary.replace(path)


def _load_folder(path):
    config = json.loads((path / "config.json").read_text(encoding="utf-8"))
    config.setdefault("head_dim", config["hidden_size"] // config["num_attention_heads"])
    if "rope_theta" not in config:
        config["rope_theta"] = config["rope_parameters"]["rope_theta"]
    files = sorted(path.glob("*.safetensors"))
    weights = {}
    for file in files:
        weights.update({name: value.astype(np.float32) for name, value in read_safetensors(file)[0].items()})

    def tokenizer():
        import tokenizers

        return tokenizers.Tokenizer.from_file(str(path / "tokenizer.json"))

    return Checkpoint(path.name, config, weights, tokenizer, file_sha256(*files))


# ---- GGUF ------------------------------------------------------------------------------------------------------------------

GGUF_NAMES = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def gguf_to_hugging_face_name(name):
    """"blk.3.attn_q.weight" -> "model.layers.3.self_attn.q_proj.weight"."""
    parts = name.removesuffix(".weight").split(".")
    if parts[0] == "blk":
        return f"model.layers.{parts[1]}.{GGUF_NAMES[parts[2]]}.weight"
    return f"{GGUF_NAMES[parts[0]]}.weight"


def interleaved_to_rotate_half(weight, heads):
    """Undoes llama.cpp's row order of q and k: per head it stores pair members side by side (2t, 2t + 1), Hugging Face stores
    them half a head apart (t, t + h/2). weight [heads * h, in]."""
    rows, columns = weight.shape
    return weight.reshape(heads, rows // heads // 2, 2, columns).swapaxes(1, 2).reshape(rows, columns)


def _load_gguf(path):
    import gguf

    reader = gguf.GGUFReader(path)

    def value(key):
        return reader.fields[key].contents()

    if value("general.architecture") != "llama":
        raise SystemExit(f"{path}: architecture {value('general.architecture')} is not llama")
    heads, kv_heads = value("llama.attention.head_count"), value("llama.attention.head_count_kv")
    weights = {}
    for tensor in reader.tensors:
        array = gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        name = gguf_to_hugging_face_name(tensor.name)
        if name.endswith("q_proj.weight"):
            array = interleaved_to_rotate_half(array, heads)
        elif name.endswith("k_proj.weight"):
            array = interleaved_to_rotate_half(array, kv_heads)
        weights[name] = np.ascontiguousarray(array)
    hidden = value("llama.embedding_length")
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": hidden,
        "intermediate_size": value("llama.feed_forward_length"),
        "num_hidden_layers": value("llama.block_count"),
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "head_dim": hidden // heads,
        "vocab_size": weights["model.embed_tokens.weight"].shape[0],
        "max_position_embeddings": value("llama.context_length"),
        "rms_norm_eps": float(value("llama.attention.layer_norm_rms_epsilon")),
        "rope_theta": float(value("llama.rope.freq_base")),
        "hidden_act": "silu",
        "tie_word_embeddings": "lm_head.weight" not in weights,
        "bos_token_id": value("tokenizer.ggml.bos_token_id"),
        "eos_token_id": value("tokenizer.ggml.eos_token_id"),
    }
    return Checkpoint(path.parent.name, config, weights, lambda: _gguf_tokenizer(value), file_sha256(path))


def _gguf_tokenizer(value):
    """Byte-level BPE from the vocabulary and merges in the file."""
    import tokenizers
    from tokenizers import decoders, models, pre_tokenizers

    if value("tokenizer.ggml.model") != "gpt2" or value("tokenizer.ggml.pre") not in GGUF_SPLITS_DIGITS:
        raise SystemExit(f"tokenizer {value('tokenizer.ggml.model')}/{value('tokenizer.ggml.pre')} is not supported here")
    tokens, types = value("tokenizer.ggml.tokens"), value("tokenizer.ggml.token_type")
    merges = [tuple(merge.split(" ")) for merge in value("tokenizer.ggml.merges")]
    tokenizer = tokenizers.Tokenizer(models.BPE({token: i for i, token in enumerate(tokens)}, merges))
    steps = [pre_tokenizers.Digits(individual_digits=True)] if GGUF_SPLITS_DIGITS[value("tokenizer.ggml.pre")] else []
    steps.append(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(steps)
    tokenizer.decoder = decoders.ByteLevel()
    control = [token for token, kind in zip(tokens, types) if kind == 3]
    tokenizer.add_special_tokens([tokenizers.AddedToken(token, special=True, normalized=False) for token in control])
    return tokenizer
