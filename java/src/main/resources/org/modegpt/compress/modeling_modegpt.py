"""MoDeGPT models in transformers: decoder-only language models whose layers differ in size.

    model = AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=True)

One file for all families: `config.json` has an object `modegpt` that says what the layers compute and how large they are. Besides
it only the common sizes (`hidden_size`, `num_attention_heads`, ...) are read; the other keys are those of the original model, kept
for tools. A key may be absent when it has the value in brackets.

    embedding_scale [1]   the embedding is multiplied by it
    position_offset       with it, row `position + position_offset` of embed_positions is added to the embedding
    norm ["rms"]          "rms": x / sqrt(mean(x^2) + eps) * (weight + norm_offset), or "layer": LayerNorm with weight and bias
    norm_eps, norm_offset [0]
    norms [attention, mlp]  which a block has; attention_output and mlp_output act on what attention or MLP gives
    parallel [false]      the MLP reads the stream as it was before attention was added
    qk_norm               RMS norm of queries and keys before the rotary embedding: "head" (over a head) or "whole" (over all heads)
    attention_scale       the logits' factor: that of the original head size, whatever is left of the head
    attention_softcap [0]   with c > 0 logits become c * tanh(logit / c); logit_softcap [0]: the same for the final logits
    rotary_frequencies    sets of radians per position of every rotary pair of the original head
    activation, gated [true]  down(act(gate(x)) * up(x)), or without a gate down(act(up(x)))
    layers[i].mlp_width   inner units of the MLP
             .qk_dim      columns of a query or key head: the first halves of its pairs, the second halves, then what does not turn
             .vo_dim      columns of a value head
             .rotary_pairs  for each key/value head the pairs of the original that it kept; each turns with its own frequency
             .rotary [0]  which set of frequencies
             .window [0]  with w > 0 a query sees itself and the w - 1 keys before it
             .biases []   which projections have one ("q", "k", "v", "o", "gate", "up", "down")
             .q_norm_eps, .k_norm_eps [norm_eps]

Works with transformers 4.57 and 5, with eager and SDPA attention (eager alone where attention logits are capped; fused kernels that
want keys and values of one size do not apply). Needs nothing but torch and transformers.
"""

import dataclasses
import inspect

import torch
import transformers
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel
from transformers.activations import ACT2FN
from transformers.cache_utils import DynamicCache
from transformers.generation import GenerationMixin
from transformers.masking_utils import create_causal_mask, create_sliding_window_causal_mask
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import BaseModelOutputWithPast, CausalLMOutputWithPast
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

FIVE = int(transformers.__version__.split(".")[0]) >= 5
# Some versions of 5 call `past_key_values` just `cache`, in outputs and in the arguments of its functions.
CACHE_FIELD = "cache" if "cache" in {f.name for f in dataclasses.fields(CausalLMOutputWithPast)} else "past_key_values"

MASKS = {"full_attention": create_causal_mask, "sliding_attention": create_sliding_window_causal_mask}


class ModegptConfig(PretrainedConfig):
    """The original model's configuration plus the object `modegpt`, see the top of this file."""

    model_type = "modegpt"
    keys_to_ignore_at_inference = ["past_key_values", "cache"]

    def __init__(self, modegpt=None, **kwargs):
        self.modegpt = modegpt or {"layers": []}
        # What caches and masks go by: said here for every family alike, whatever the original's keys were.
        windows = [layer.get("window", 0) for layer in self.modegpt["layers"]]
        if len(set(windows) - {0}) > 1:
            raise ValueError("layers with windows of different lengths are not supported")
        kwargs["sliding_window"] = max(windows, default=0) or None
        kwargs["layer_types"] = ["sliding_attention" if window else "full_attention" for window in windows] or None
        super().__init__(**kwargs)


class ModegptNorm(nn.Module):
    """RMS norm or LayerNorm in float32, over the last dimension or over its parts of `group` columns."""

    def __init__(self, spec, size, group=None, eps=None, kind=None):
        super().__init__()
        self.centred = (kind or spec.get("norm", "rms")) == "layer"
        self.eps = spec["norm_eps"] if eps is None else eps
        self.offset = spec.get("norm_offset", 0)
        self.group = group or size
        self.weight = nn.Parameter(torch.full((size,), 1.0 - self.offset))
        self.bias = nn.Parameter(torch.zeros(size)) if self.centred else None

    def forward(self, x):
        y = x.float().unflatten(-1, (-1, self.group))
        if self.centred:
            y = y - y.mean(-1, keepdim=True)
        y = (y * torch.rsqrt(y.pow(2).mean(-1, keepdim=True) + self.eps)).flatten(-2)
        y = y * (self.weight.float() + self.offset)
        return (y if self.bias is None else y + self.bias.float()).to(x.dtype)


class Rotary:
    """Rotates the kept pairs of every key/value head, each with the frequency it had in the original model.

    Not a module: the frequencies are numbers of config.json, put on the device at the first use, so that no way of loading a
    checkpoint (on the meta device, in parts, in another dtype) can leave them undefined or rounded.
    """

    def __init__(self, frequencies, pairs):
        self.frequencies = [[frequencies[pair] for pair in head] for head in pairs]
        self.pairs = len(pairs[0]) if pairs else 0
        self.resident = None

    def angles(self, position_ids):
        """cos and sin [batch, kv_heads, tokens, pairs], float32; the angle is formed in float64 where the device has it."""
        device = position_ids.device
        if self.resident is None or self.resident.device != device:
            with torch.inference_mode(False):
                dtype = torch.float32 if device.type == "mps" else torch.float64
                self.resident = torch.tensor(self.frequencies, dtype=dtype, device=device)
        angle = position_ids[:, None, :, None].to(self.resident.dtype) * self.resident[None, :, None, :]
        return angle.cos().float(), angle.sin().float()

    def rotate(self, x, cos, sin):
        """x [batch, heads, tokens, qk_dim]: columns t and pairs + t turn by the angle of pair t, the rest stays."""
        groups = x.shape[1] // cos.shape[1]
        cos, sin = (c.repeat_interleave(groups, dim=1) if groups > 1 else c for c in (cos, sin))
        first, second, rest = x.split((self.pairs, self.pairs, x.shape[-1] - 2 * self.pairs), dim=-1)
        first, second = first.float(), second.float()
        turned = (first * cos - second * sin).to(x.dtype), (second * cos + first * sin).to(x.dtype)
        return torch.cat((*turned, rest), dim=-1)


def eager_attention(module, query, key, value, attention_mask, scaling, dropout=0.0, **kwargs):
    """softmax(cap(q k^T * scaling) + mask) v, with the attention weights as the second result."""
    key = key.repeat_interleave(module.num_key_value_groups, dim=1)
    value = value.repeat_interleave(module.num_key_value_groups, dim=1)
    logits = softcapped(query @ key.transpose(2, 3) * scaling, module.softcap)
    if attention_mask is not None:
        logits = logits + attention_mask[..., : key.shape[-2]]
    weights = nn.functional.softmax(logits, dim=-1, dtype=torch.float32).to(query.dtype)
    weights = nn.functional.dropout(weights, p=dropout, training=module.training)
    return (weights @ value).transpose(1, 2).contiguous(), weights


def softcapped(logits, cap):
    return cap * torch.tanh(logits / cap) if cap else logits


class ModegptAttention(nn.Module):
    def __init__(self, config, layer_idx):
        super().__init__()
        spec = config.modegpt
        layer = spec["layers"][layer_idx]
        hidden, heads, kv_heads = config.hidden_size, config.num_attention_heads, config.num_key_value_heads
        self.config = config
        self.layer_idx = layer_idx
        self.is_causal = True
        self.num_key_value_groups = heads // kv_heads
        self.scaling = spec["attention_scale"]
        self.softcap = spec.get("attention_softcap", 0)
        self.sliding_window = layer.get("window", 0) or None
        self.qk_dim, self.vo_dim = layer["qk_dim"], layer["vo_dim"]
        frequencies = spec.get("rotary_frequencies") or [[]]
        self.rotary = Rotary(frequencies[layer.get("rotary", 0)], layer["rotary_pairs"])
        biases = layer.get("biases", [])
        self.q_proj = nn.Linear(hidden, heads * self.qk_dim, bias="q" in biases)
        self.k_proj = nn.Linear(hidden, kv_heads * self.qk_dim, bias="k" in biases)
        self.v_proj = nn.Linear(hidden, kv_heads * self.vo_dim, bias="v" in biases)
        self.o_proj = nn.Linear(heads * self.vo_dim, hidden, bias="o" in biases)
        self.q_norm = self.k_norm = None
        if kind := spec.get("qk_norm"):
            group = self.qk_dim if kind == "head" else None
            self.q_norm = ModegptNorm(spec, heads * self.qk_dim, group, layer.get("q_norm_eps"), "rms")
            self.k_norm = ModegptNorm(spec, kv_heads * self.qk_dim, group, layer.get("k_norm_eps"), "rms")

    def forward(self, x, attention_mask, position_ids, cache, **kwargs):
        def heads(y, size):
            return y.unflatten(-1, (-1, size)).transpose(1, 2)

        query, key, value = self.q_proj(x), self.k_proj(x), self.v_proj(x)
        if self.q_norm is not None:
            query, key = self.q_norm(query), self.k_norm(key)
        query, key, value = heads(query, self.qk_dim), heads(key, self.qk_dim), heads(value, self.vo_dim)
        if self.rotary.pairs:
            cos, sin = self.rotary.angles(position_ids)
            query, key = self.rotary.rotate(query, cos, sin), self.rotary.rotate(key, cos, sin)
        if cache is not None:
            key, value = cache.update(key, value, self.layer_idx)
        implementation = self.config._attn_implementation
        attend = eager_attention if implementation == "eager" else ALL_ATTENTION_FUNCTIONS[implementation]
        output, weights = attend(self, query, key, value, attention_mask, scaling=self.scaling, **kwargs)
        return self.o_proj(output.reshape(*x.shape[:-1], -1)), weights


class ModegptMLP(nn.Module):
    def __init__(self, config, layer_idx):
        super().__init__()
        layer = config.modegpt["layers"][layer_idx]
        hidden, width, biases = config.hidden_size, layer["mlp_width"], layer.get("biases", [])
        gated = config.modegpt.get("gated", True)
        self.gate_proj = nn.Linear(hidden, width, bias="gate" in biases) if gated else None
        self.up_proj = nn.Linear(hidden, width, bias="up" in biases)
        self.down_proj = nn.Linear(width, hidden, bias="down" in biases)
        self.act_fn = ACT2FN[config.modegpt["activation"]]

    def forward(self, x):
        inner = self.act_fn(self.up_proj(x)) if self.gate_proj is None else self.act_fn(self.gate_proj(x)) * self.up_proj(x)
        return self.down_proj(inner)


class ModegptDecoderLayer(GradientCheckpointingLayer):
    def __init__(self, config, layer_idx):
        super().__init__()
        spec = config.modegpt
        norms = spec.get("norms", ["attention", "mlp"])

        def norm(place):
            return ModegptNorm(spec, config.hidden_size) if place in norms else nn.Identity()

        self.parallel = spec.get("parallel", False)
        self.input_layernorm = norm("attention")
        self.self_attn = ModegptAttention(config, layer_idx)
        self.attention_output_norm = norm("attention_output")
        self.post_attention_layernorm = norm("mlp")
        self.mlp = ModegptMLP(config, layer_idx)
        self.mlp_output_norm = norm("mlp_output")

    def forward(self, x, attention_mask=None, position_ids=None, cache=None, **kwargs):
        output, weights = self.self_attn(self.input_layernorm(x), attention_mask, position_ids, cache, **kwargs)
        after = x + self.attention_output_norm(output)
        inner = self.mlp(self.post_attention_layernorm(x if self.parallel else after))
        return after + self.mlp_output_norm(inner), weights


class ModegptPreTrainedModel(PreTrainedModel):
    config_class = ModegptConfig
    base_model_prefix = "model"
    supports_gradient_checkpointing = True
    _no_split_modules = ["ModegptDecoderLayer"]
    _supports_sdpa = True
    _supports_flash_attn = False  # its kernels want keys and values of one size

    def __init__(self, config, *args, **kwargs):
        if config.modegpt.get("attention_softcap"):
            config._attn_implementation = "eager"  # SDPA cannot cap logits
        super().__init__(config, *args, **kwargs)

    def _init_weights(self, module):
        if isinstance(module, ModegptNorm):
            nn.init.constant_(module.weight, 1.0 - module.offset)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        else:
            super()._init_weights(module)


def causal_mask(create, config, embeddings, attention_mask, cache, position_ids):
    """A mask in the form that the chosen attention wants, by one of transformers' own functions."""
    past = cache.get_seq_length() if cache is not None else 0
    given = {
        "config": config,
        "inputs_embeds": embeddings,
        "input_embeds": embeddings,
        "attention_mask": attention_mask,
        "cache": cache,
        "past_key_values": cache,
        "position_ids": position_ids,
        "cache_position": torch.arange(past, past + embeddings.shape[1], device=embeddings.device),
    }
    accepted = inspect.signature(create).parameters
    return create(**{name: value for name, value in given.items() if name in accepted})


def positions(x, attention_mask, cache):
    """Positions of the tokens of x: those of the text, so that padding on the left does not count."""
    past = cache.get_seq_length() if cache is not None else 0
    if isinstance(attention_mask, torch.Tensor) and attention_mask.dim() == 2:
        text = attention_mask.long().cumsum(-1) - 1
        return text.clamp(min=0)[:, past : past + x.shape[1]]
    return torch.arange(past, past + x.shape[1], device=x.device)[None]


class ModegptModel(ModegptPreTrainedModel):
    """Token ids to the normalised residual stream."""

    def __init__(self, config):
        super().__init__(config)
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(ModegptDecoderLayer(config, i) for i in range(config.num_hidden_layers))
        self.norm = ModegptNorm(config.modegpt, config.hidden_size)
        self.position_offset = config.modegpt.get("position_offset")
        if self.position_offset is not None:
            rows = config.modegpt["context_length"] + self.position_offset
            self.embed_positions = nn.Embedding(rows, config.hidden_size)
        self.gradient_checkpointing = False
        self.post_init()

    def get_input_embeddings(self):
        return self.embed_tokens

    def set_input_embeddings(self, value):
        self.embed_tokens = value

    def forward(
        self,
        input_ids=None,
        attention_mask=None,
        position_ids=None,
        past_key_values=None,
        inputs_embeds=None,
        use_cache=None,
        output_attentions=None,
        output_hidden_states=None,
        return_dict=None,
        cache=None,
        **kwargs,
    ):
        cache = cache if cache is not None else past_key_values
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("give either input_ids or inputs_embeds")
        x = inputs_embeds if inputs_embeds is not None else self.embed_tokens(input_ids)
        use_cache = use_cache if use_cache is not None else getattr(self.config, "use_cache", True) and not self.training
        if use_cache and cache is None:
            cache = DynamicCache(config=self.config)
        if position_ids is None:
            position_ids = positions(x, attention_mask, cache)
        x = x * self.config.modegpt.get("embedding_scale", 1)
        if self.position_offset is not None:
            x = x + self.embed_positions(position_ids + self.position_offset)
        # Generation with a static cache brings the masks ready-made.
        masks = attention_mask if isinstance(attention_mask, dict) else {
            kind: causal_mask(MASKS[kind], self.config, x, attention_mask, cache, position_ids)
            for kind in set(self.config.layer_types)
        }
        states, attentions = [], []
        for kind, layer in zip(self.config.layer_types, self.layers):
            states.append(x)
            x, weights = layer(x, attention_mask=masks[kind], position_ids=position_ids, cache=cache, **kwargs)
            attentions.append(weights)
        x = self.norm(x)
        wants_states = output_hidden_states if output_hidden_states is not None else self.config.output_hidden_states
        wants_attentions = output_attentions if output_attentions is not None else self.config.output_attentions
        output = BaseModelOutputWithPast(
            last_hidden_state=x,
            hidden_states=(*states, x) if wants_states else None,
            attentions=tuple(attentions) if wants_attentions else None,
            **{CACHE_FIELD: cache if use_cache else None},
        )
        return output if return_dict is not False else output.to_tuple()


class ModegptForCausalLM(ModegptPreTrainedModel, GenerationMixin):
    """The language model: logits, loss, generation."""

    # A mapping in transformers 5, a list before.
    _tied_weights_keys = {"lm_head.weight": "model.embed_tokens.weight"} if FIVE else ["lm_head.weight"]

    def __init__(self, config):
        super().__init__(config)
        self.model = ModegptModel(config)
        self.vocab_size = config.vocab_size
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def get_input_embeddings(self):
        return self.model.embed_tokens

    def set_input_embeddings(self, value):
        self.model.embed_tokens = value

    def get_output_embeddings(self):
        return self.lm_head

    def set_output_embeddings(self, value):
        self.lm_head = value

    def forward(self, input_ids=None, labels=None, logits_to_keep=0, return_dict=None, **kwargs):
        loss_arguments = {k: kwargs.pop(k) for k in ("num_items_in_batch", "shift_labels") if k in kwargs}
        outputs = self.model(input_ids, **kwargs)
        x = outputs.last_hidden_state
        kept = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        logits = softcapped(self.lm_head(x[:, kept, :]), self.config.modegpt.get("logit_softcap", 0))
        loss = None
        if labels is not None:
            loss = self.loss_function(logits=logits, labels=labels, vocab_size=self.config.vocab_size, **loss_arguments)
        output = CausalLMOutputWithPast(
            loss=loss,
            logits=logits,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
            **{CACHE_FIELD: outputs[CACHE_FIELD] if CACHE_FIELD in outputs else None},
        )
        return output if return_dict is not False else output.to_tuple()
