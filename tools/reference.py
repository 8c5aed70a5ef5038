"""MoDeGPT in plain numpy, float64 and textbook formulas: what the engine's results are checked against.

Nothing here is fast or clever. Where the engine uses a cheaper closed form (h x h instead of d x d, a diagonal instead of an
inverse) this file uses the published definition. Row-vector convention `y = x W`: a function that takes a checkpoint matrix
`[out, in]` says so and transposes it.
"""

import numpy as np


# ---- forward pass ----------------------------------------------------------------------------------------------------------


def rms_norm(x, weight, eps):
    return x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + eps) * weight


def silu(x):
    return x / (1.0 + np.exp(-x))


def rotate(x, theta):
    """Rotary embedding, rotate-half layout, on x [heads, T, h] at positions 0..T-1."""
    half = x.shape[-1] // 2
    angles = np.arange(x.shape[1])[:, None] * theta ** (-np.arange(half) / half)
    cos, sin = np.cos(angles), np.sin(angles)
    first, second = x[..., :half], x[..., half:]
    return np.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)


def split_heads(x, heads):
    """[T, heads * h] -> [heads, T, h]."""
    return x.reshape(x.shape[0], heads, -1).swapaxes(0, 1)


def block(model, index, x):
    """One decoder block in the dtype of x [T, d]. Returns (output, activations): `attention_input` X [T, d], `q` and `k` before
    the rotary embedding [T, heads * h], `mlp_inner` H [T, f]."""
    config = model.config
    heads, kv_heads, size = config["num_attention_heads"], config["num_key_value_heads"], config["head_dim"]

    def linear(part, value):
        return value @ model.layer(index, part).astype(x.dtype).T

    seen = {"attention_input": rms_norm(x, model.layer(index, "input_layernorm").astype(x.dtype), config["rms_norm_eps"])}
    seen["q"] = linear("self_attn.q_proj", seen["attention_input"])
    seen["k"] = linear("self_attn.k_proj", seen["attention_input"])
    q = rotate(split_heads(seen["q"], heads), config["rope_theta"])
    k = rotate(split_heads(seen["k"], kv_heads), config["rope_theta"]).repeat(heads // kv_heads, axis=0)
    v = split_heads(linear("self_attn.v_proj", seen["attention_input"]), kv_heads).repeat(heads // kv_heads, axis=0)
    logits = q @ k.swapaxes(1, 2) / np.sqrt(size)
    logits = np.where(np.tri(x.shape[0], dtype=bool), logits, -np.inf)
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    weights /= weights.sum(axis=-1, keepdims=True)
    x = x + linear("self_attn.o_proj", (weights @ v).swapaxes(0, 1).reshape(x.shape[0], -1))
    inner = rms_norm(x, model.layer(index, "post_attention_layernorm").astype(x.dtype), config["rms_norm_eps"])
    seen["mlp_inner"] = silu(linear("mlp.gate_proj", inner)) * linear("mlp.up_proj", inner)
    return x + linear("mlp.down_proj", seen["mlp_inner"]), seen


def embed(model, ids):
    return model.weights["model.embed_tokens.weight"][ids].astype(np.float64)


def logits(model, x):
    """Float64 logits [T, V] of the last block's output x [T, d]."""
    x = rms_norm(x, model.weights["model.norm.weight"].astype(np.float64), model.config["rms_norm_eps"])
    head = "model.embed_tokens.weight" if model.config["tie_word_embeddings"] else "lm_head.weight"
    return x @ model.weights[head].astype(np.float64).T


# ---- statistics ------------------------------------------------------------------------------------------------------------


def statistics(model, sequences):
    """Per layer, over all tokens of `sequences` [S, T]: `input_gram` C_X [d, d], `mlp_gram` C_H [f, f], `q_energy` [heads * h],
    `k_energy` [kv_heads * h] (column sums of squares before the rotary embedding), `influence` 1 - mean cos(in, out)."""
    streams = [embed(model, ids) for ids in sequences]
    result = []
    for index in range(model.config["num_hidden_layers"]):
        sums = {"input_gram": 0.0, "mlp_gram": 0.0, "q_energy": 0.0, "k_energy": 0.0}
        cosines = []
        for s, x in enumerate(streams):
            y, seen = block(model, index, x)
            sums["input_gram"] += seen["attention_input"].T @ seen["attention_input"]
            sums["mlp_gram"] += seen["mlp_inner"].T @ seen["mlp_inner"]
            sums["q_energy"] += np.square(seen["q"]).sum(axis=0)
            sums["k_energy"] += np.square(seen["k"]).sum(axis=0)
            cosines.append((x * y).sum(axis=1) / (np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1)))
            streams[s] = y
        result.append(sums | {"influence": 1.0 - np.concatenate(cosines).mean()})
    return result


# ---- decompositions --------------------------------------------------------------------------------------------------------


def symmetric_power(matrix, exponent):
    """Power of a symmetric positive matrix; eigenvalues below 1e-14 of the largest count as zero."""
    values, vectors = np.linalg.eigh(matrix)
    kept = values > values[-1] * 1e-14
    return (vectors[:, kept] * values[kept] ** exponent) @ vectors[:, kept].T


def ridge_leverage(gram, relative_ridge):
    """diag(C (C + lambda I)^-1), lambda = relative_ridge * mean(diag C)."""
    ridge = relative_ridge * np.mean(np.diag(gram))
    return np.diag(gram @ np.linalg.inv(gram + ridge * np.eye(len(gram))))


def largest(scores, count):
    """Indices of the `count` largest scores, ascending; the lower index wins a tie."""
    return np.sort(np.argsort(-scores, kind="stable")[:count])


def nystrom(gram, down, rank, relative_ridge):
    """Type I. down [f, d] = W_down. Returns (kept [rank], refitted W_down' [rank, d])."""
    kept = largest(ridge_leverage(gram, relative_ridge), rank)
    return kept, np.linalg.solve(gram[np.ix_(kept, kept)], gram[kept] @ down)


def pair_scores(q_energy, k_energy, heads, kv_heads):
    """Type II. Score of each rotary pair of each key head, [kv_heads, h/2]: the root of the sum of C_q[t,t] C_k[t,t] over the
    pair's two coordinates and the query heads that read the key head."""
    energy = q_energy.reshape(kv_heads, heads // kv_heads, 2, -1) * k_energy.reshape(kv_heads, 1, 2, -1)
    return np.sqrt(energy.sum(axis=(1, 2)))


def column_row(q_energy, k_energy, heads, kv_heads, pairs):
    """Kept rotary pairs [kv_heads, pairs] of each key head."""
    return np.stack([largest(score, pairs) for score in pair_scores(q_energy, k_energy, heads, kv_heads)])


def value_output(input_gram, value, outputs, rank, rule):
    """Type III for one key/value head. value W_v [d, h]; outputs: the g matrices W_o,j [h, d] of the query heads that read it.

    rule "joint":      truncated SVD of C_X^1/2 W_v [W_o,1 ... W_o,g], the optimum for a shared W_v;
         "published":  truncated SVD of C_X^1/2 W_v alone (W_o is ignored);
         "separate":   per query head the truncated SVD of C_X^1/2 W_v W_o,j (what a model without grouped queries has).
    Returns (products W_v' W_o,j' [g, d, d], singular values [h], or [g, h] for "separate")."""
    root, inverse_root = symmetric_power(input_gram, 0.5), symmetric_power(input_gram, -0.5)
    size = value.shape[1]

    def truncated(target):
        u, s, vt = np.linalg.svd(root @ target, full_matrices=False)
        return inverse_root @ (u[:, :rank] * s[:rank]) @ vt[:rank], s[:size]

    if rule == "separate":
        products, spectra = zip(*(truncated(value @ output) for output in outputs))
        return np.stack(products), np.stack(spectra)
    if rule == "joint":
        product, spectrum = truncated(value @ np.concatenate(outputs, axis=1))
        return np.stack(np.split(product, len(outputs), axis=1)), spectrum
    if rule == "published":
        approximation, spectrum = truncated(value)
        return np.stack([approximation @ output for output in outputs]), spectrum
    raise ValueError(rule)


def allocate(influence, mean, epsilon, cap):
    """Sparsity of each layer: L * mean * softmax(-influence / epsilon), clipped to `cap` with the excess spread over the others in
    proportion, so that the mean stays exact."""
    weights = np.exp(-(influence - influence.min()) / epsilon)
    capped = np.zeros(len(weights), dtype=bool)
    while True:
        sparsity = np.where(capped, cap, 0.0)
        sparsity[~capped] = (len(weights) * mean - cap * capped.sum()) * weights[~capped] / weights[~capped].sum()
        over = sparsity > cap * (1 + 1e-12)
        if not over.any():
            return sparsity
        capped |= over
