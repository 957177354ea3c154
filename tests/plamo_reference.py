"""PLaMo 2 and 3 in NumPy, float64, from the published definition (modeling_plamo.py beside the weights).

Written without the converter's code and reading the checkpoint alone. By hand it was held against mlx-lm 0.32.2 on
mlx's CPU build, an independent port, over 256 positions of the checkpoints in tiny_plamo.py: mean KLD 8e-8 for PLaMo 2
and 1e-11 for PLaMo 3, the same top token everywhere. mlx-lm keeps the time step within 0.001 … 100, which the
definition does not, and its window reaches one token further back than the engines' (its `window_size` was one less
in that comparison).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

Array = np.ndarray
Mixer = Callable[[int, Array, Callable[[str], Array]], Array]


def logits(checkpoint: Path, ids: Sequence[int]) -> Array:
    """(positions, vocabulary) in float32 of a PLaMo 2 or 3 checkpoint."""
    config = json.loads((checkpoint / "config.json").read_text())
    weights = {name: values.astype(np.float64) for name, values in load_file(checkpoint / "model.safetensors").items()}
    mixer = _plamo2(config) if config["model_type"] == "plamo2" else _plamo3(config)
    x = weights["model.embed_tokens.weight"][list(ids)]
    for i in range(config["num_hidden_layers"]):

        def w(name: str, prefix: str = f"model.layers.layers.{i}.") -> Array:
            return weights[prefix + name]

        mixed = mixer(i, _norm(x, 1.0 + w("pre_mixer_norm.weight")), lambda name, w=w: w(f"mixer.{name}"))
        x = x + _norm(mixed, 1 / 5 + w("post_mixer_norm.weight"))
        gate, up = np.split(_norm(x, 1.0 + w("pre_mlp_norm.weight")) @ w("mlp.gate_up_proj.weight").T, 2, axis=-1)
        fed = (_silu(gate) * up) @ w("mlp.down_proj.weight").T
        x = x + _norm(fed, 1 / 5**1.5 + w("post_mlp_norm.weight"))
    return (_norm(x, 1.0 + weights["model.norm.weight"]) @ weights["model.embed_tokens.weight"].T).astype(np.float32)


def _plamo2(config: dict[str, Any]) -> Mixer:
    heads, kv_heads, width = (config[k] for k in ("num_attention_heads", "num_key_value_heads", "hidden_size_per_head"))
    step = config["mamba_step"]

    def mix(layer: int, x: Array, w: Callable[[str], Array]) -> Array:
        if config["mamba_enabled"] and layer % step != step // 2:
            return _mamba(config, x, w)
        q, k, v = _split_heads(x @ w("qkv_proj.weight").T, heads, kv_heads, width)
        q, k = _norm(q, w("q_weight")[:, None]), _norm(k, w("k_weight")[:, None])
        angles = _angles(len(x), width, 10_000.0)
        return _attention(_rotate(q, angles), _rotate(k, angles), v, len(x)) @ w("o_proj.weight").T

    return mix


def _plamo3(config: dict[str, Any]) -> Mixer:
    heads, kv_heads, width = config["num_attention_heads"], config["num_key_value_heads"], config["head_dim"]

    def mix(layer: int, x: Array, w: Callable[[str], Array]) -> Array:
        full = (layer + 1) % config["sliding_window_pattern"] == 0
        q, k, v = _split_heads(x @ w("qkv_proj.weight").T, heads, kv_heads, width)
        q, k = _norm(q, 1.0 + w("q_norm.weight")), _norm(k, 1.0 + w("k_norm.weight"))
        angles = _angles(len(x), width, config["rope_theta"] if full else config["rope_local_theta"])
        scale = 1.0
        if full and config.get("rope_scaling_factor", 1) != 1:
            angles, scale = _yarn(config, len(x), width)
        q, k = _rotate(q, angles) * scale, _rotate(k, angles) * scale
        return _attention(q, k, v, len(x) if full else config["window_size"]) @ w("o_proj.weight").T

    return mix


def _mamba(config: dict[str, Any], x: Array, w: Callable[[str], Array]) -> Array:
    """z and x of each head lie together; x passes a causal convolution of its own per channel, then the recurrence."""
    heads, width, states = config["mamba_num_heads"], config["hidden_size_per_head"], config["mamba_d_state"]
    tokens, kernel = len(x), config["mamba_d_conv"]
    z, x = np.split((x @ w("in_proj.weight").T).reshape(tokens, heads, 2 * width), 2, axis=-1)
    padded = np.concatenate([np.zeros((kernel - 1, heads * width)), x.reshape(tokens, -1)])
    taps = w("conv1d.weight")[:, 0]
    x = _silu(sum(padded[i : i + tokens] * taps[:, i] for i in range(kernel)))
    b, c, dt = np.split(x @ w("bcdt_proj.weight").T, [states, 2 * states], axis=-1)
    b, c, dt = (_norm(v, w(f"{n}_norm_weight")) for n, v in (("B", b), ("C", c), ("dt", dt)))
    dt = np.logaddexp(0, dt @ w("dt_proj.weight").T + w("dt_bias"))
    decay = np.exp(dt * -np.exp(w("A_log")))
    x = x.reshape(tokens, heads, width)
    state, out = np.zeros((heads, width, states)), np.empty_like(x)
    for t in range(tokens):
        state = state * decay[t, :, None, None] + (dt[t, :, None] * x[t])[..., None] * b[t]
        out[t] = state @ c[t] + w("D")[:, None] * x[t]
    return (out * _silu(z)).reshape(tokens, -1) @ w("out_proj.weight").T


def _split_heads(qkv: Array, heads: int, kv_heads: int, width: int) -> tuple[Array, Array, Array]:
    """Each (heads, tokens, width), keys and values repeated for the heads that share them."""
    parts = qkv.reshape(len(qkv), -1, width).swapaxes(0, 1)
    q, k, v = np.split(parts, [heads, heads + kv_heads])
    return q, k, v


def _attention(q: Array, k: Array, v: Array, window: int) -> Array:
    tokens, shared = q.shape[1], len(q) // len(k)
    k, v = np.repeat(k, shared, axis=0), np.repeat(v, shared, axis=0)
    scores = q @ k.swapaxes(1, 2) / np.sqrt(q.shape[-1])
    back = np.arange(tokens)[:, None] - np.arange(tokens)
    scores = np.where((back >= 0) & (back < window), scores, -np.inf)
    share = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return (share / share.sum(axis=-1, keepdims=True) @ v).swapaxes(0, 1).reshape(tokens, -1)


def _angles(tokens: int, width: int, base: float) -> Array:
    return np.arange(tokens)[:, None] * base ** (-np.arange(0, width, 2) / width)


def _yarn(config: dict[str, Any], tokens: int, width: int) -> tuple[Array, float]:
    """Angles between the stretched and the plain ones, and the factor of attention (arXiv 2309.00071)."""
    factor, base, original = config["rope_scaling_factor"], config["rope_theta"], config["initial_context_length"]

    def pair(turns: float) -> float:
        return width * np.log(original / (turns * 2 * np.pi)) / (2 * np.log(base))

    low, high = max(pair(32.0), 0.0), min(pair(1.0), width - 1.0)
    ramp = np.clip((np.arange(width // 2) - low) / (high - low), 0, 1)
    plain = _angles(tokens, width, base)
    return plain / factor * ramp + plain * (1 - ramp), 0.1 * np.log(factor) + 1.0


def _rotate(x: Array, angles: Array) -> Array:
    a, b = np.split(x, 2, axis=-1)
    cos, sin = np.cos(angles), np.sin(angles)
    return np.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)


def _norm(x: Array, weight: Array) -> Array:
    return x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + 1e-6) * weight


def _silu(x: Array) -> Array:
    return x / (1 + np.exp(-x))
