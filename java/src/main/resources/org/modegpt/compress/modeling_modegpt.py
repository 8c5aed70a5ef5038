"""MoDeGPT models in transformers: decoder-only language models whose layers differ in size.

    model = AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=True)

One file for all families. `config.json` keeps the keys of the original model and adds an object `modegpt`, which says what the
layers compute and how large they are; only that object and the common sizes (`hidden_size`, `num_attention_heads`, ...) are read:

    attention_scale       the logits' factor: that of the original head size, whatever is left of the head
    rotary_frequencies    radians per position of every rotary pair of the original head
    activation            of the MLP, by its name in transformers.activations
    norm_eps
    layers[i].mlp_width   inner units of the MLP
             .qk_dim      columns of a query or key head: 2 x its rotary pairs, first halves first
             .vo_dim      columns of a value head
             .rotary_pairs  for each key/value head which pairs of the original it kept; each turns with its own frequency
             .biases      which projections have one ("q", "k", "v", "o", "gate", "up", "down")

Works with transformers 4.57 and 5; eager and SDPA attention (fused kernels that want equal key and value sizes do not apply).
Needs nothing but torch and transformers.
"""

import dataclasses
import inspect

import torch
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel
from transformers.activations import ACT2FN
from transformers.cache_utils import DynamicCache
from transformers.generation import GenerationMixin
from transformers.masking_utils import create_causal_mask
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import BaseModelOutputWithPast, CausalLMOutputWithPast
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

# transformers 5 came to call `past_key_values` just `cache`, in outputs and in the arguments of its functions.
CACHE_FIELD = "cache" if "cache" in {f.name for f in dataclasses.fields(CausalLMOutputWithPast)} else "past_key_values"


class ModegptConfig(PretrainedConfig):
    """The original model's configuration plus the object `modegpt`, see the top of this file."""

    model_type = "modegpt"
    keys_to_ignore_at_inference = ["past_key_values", "cache"]

    def __init__(self, modegpt=None, **kwargs):
        self.modegpt = modegpt or {"layers": []}
        super().__init__(**kwargs)


class ModegptRMSNorm(nn.Module):
    """x / sqrt(mean(x^2) + eps) * weight, in float32."""

    def __init__(self, size, eps):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x):
        wide = x.float()
        return self.weight * (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.eps)).to(x.dtype)


class RotaryEmbedding:
    """Rotates the kept pairs of every key/value head, each with the frequency it had in the original model.

    Not a module: the frequencies are numbers of config.json, put on the device at the first use, so that no way of loading a
    checkpoint (on the meta device, in parts, in another dtype) can leave them undefined or rounded.
    """

    def __init__(self, frequencies, pairs):
        self.frequencies = [[frequencies[pair] for pair in head] for head in pairs]
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

    @staticmethod
    def rotate(x, cos, sin):
        """x [batch, heads, tokens, 2 * pairs]: column t and column pairs + t turn by the angle of pair t."""
        groups = x.shape[1] // cos.shape[1]
        cos, sin = (c.repeat_interleave(groups, dim=1) if groups > 1 else c for c in (cos, sin))
        first, second = x.float().chunk(2, dim=-1)
        return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1).to(x.dtype)


def eager_attention(module, query, key, value, attention_mask, scaling, dropout=0.0, **kwargs):
    """softmax(q k^T * scaling + mask) v, with the attention weights as the second result."""
    key = key.repeat_interleave(module.num_key_value_groups, dim=1)
    value = value.repeat_interleave(module.num_key_value_groups, dim=1)
    logits = query @ key.transpose(2, 3) * scaling
    if attention_mask is not None:
        logits = logits + attention_mask[..., : key.shape[-2]]
    weights = nn.functional.softmax(logits, dim=-1, dtype=torch.float32).to(query.dtype)
    weights = nn.functional.dropout(weights, p=dropout, training=module.training)
    return (weights @ value).transpose(1, 2).contiguous(), weights


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
        self.qk_dim, self.vo_dim = layer["qk_dim"], layer["vo_dim"]
        self.rotary = RotaryEmbedding(spec["rotary_frequencies"], layer["rotary_pairs"])
        biases = layer.get("biases", [])
        self.q_proj = nn.Linear(hidden, heads * self.qk_dim, bias="q" in biases)
        self.k_proj = nn.Linear(hidden, kv_heads * self.qk_dim, bias="k" in biases)
        self.v_proj = nn.Linear(hidden, kv_heads * self.vo_dim, bias="v" in biases)
        self.o_proj = nn.Linear(heads * self.vo_dim, hidden, bias="o" in biases)

    def forward(self, x, attention_mask, position_ids, cache, **kwargs):
        def heads(y, size):
            return y.view(*x.shape[:-1], -1, size).transpose(1, 2)

        query, key = heads(self.q_proj(x), self.qk_dim), heads(self.k_proj(x), self.qk_dim)
        value = heads(self.v_proj(x), self.vo_dim)
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
        self.gate_proj = nn.Linear(hidden, width, bias="gate" in biases)
        self.up_proj = nn.Linear(hidden, width, bias="up" in biases)
        self.down_proj = nn.Linear(width, hidden, bias="down" in biases)
        self.act_fn = ACT2FN[config.modegpt["activation"]]

    def forward(self, x):
        return self.down_proj(self.act_fn(self.gate_proj(x)) * self.up_proj(x))


class ModegptDecoderLayer(GradientCheckpointingLayer):
    def __init__(self, config, layer_idx):
        super().__init__()
        eps = config.modegpt["norm_eps"]
        self.input_layernorm = ModegptRMSNorm(config.hidden_size, eps)
        self.self_attn = ModegptAttention(config, layer_idx)
        self.post_attention_layernorm = ModegptRMSNorm(config.hidden_size, eps)
        self.mlp = ModegptMLP(config, layer_idx)

    def forward(self, x, attention_mask=None, position_ids=None, cache=None, **kwargs):
        output, weights = self.self_attn(self.input_layernorm(x), attention_mask, position_ids, cache, **kwargs)
        x = x + output
        return x + self.mlp(self.post_attention_layernorm(x)), weights


class ModegptPreTrainedModel(PreTrainedModel):
    config_class = ModegptConfig
    base_model_prefix = "model"
    supports_gradient_checkpointing = True
    _no_split_modules = ["ModegptDecoderLayer"]
    _supports_sdpa = True
    _supports_flash_attn = False  # its kernels want keys and values of one size


def causal_mask(config, embeddings, attention_mask, cache, position_ids):
    """The mask in the form that the chosen attention wants, by transformers' own function."""
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
    accepted = inspect.signature(create_causal_mask).parameters
    return create_causal_mask(**{name: value for name, value in given.items() if name in accepted})


class ModegptModel(ModegptPreTrainedModel):
    """Token ids to the normalised residual stream."""

    def __init__(self, config):
        super().__init__(config)
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(ModegptDecoderLayer(config, i) for i in range(config.num_hidden_layers))
        self.norm = ModegptRMSNorm(config.hidden_size, config.modegpt["norm_eps"])
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
            past = cache.get_seq_length() if cache is not None else 0
            position_ids = torch.arange(past, past + x.shape[1], device=x.device)[None]
        mask = causal_mask(self.config, x, attention_mask, cache, position_ids)
        states, attentions = [], []
        for layer in self.layers:
            states.append(x)
            x, weights = layer(x, attention_mask=mask, position_ids=position_ids, cache=cache, **kwargs)
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
    _tied_weights_keys = (
        {"lm_head.weight": "model.embed_tokens.weight"} if CACHE_FIELD == "cache" else ["lm_head.weight"]
    )

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
        logits = self.lm_head(x[:, kept, :])
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
