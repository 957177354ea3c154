"""What `eval ladder --json` promises."""

from __future__ import annotations

KEYS = {
    "recipe": "whose gate and rules hold",
    "gate": "the limits that all types are held to",
    "gate_from": "where they are from",
    "rule": "how the recommendation follows",
    "rows[].type": "quantization type; rows stand from the smallest file to the largest",
    "rows[].size_bytes": "size of the file",
    "rows[].bits_per_weight": "bits of all tensors, divided by the number of weights",
    "rows[].mean_kld": "mean KL divergence from the base, in nats a token, with its 95 % interval over documents",
    "rows[].same_top_percent": "positions at which the likeliest token is the base's, with its interval",
    "rows[].flips": "multiple-choice items that are right in the base and wrong here, or the other way round",
    "rows[].bits_per_byte": "bits that the model needs for one UTF-8 byte of the text, with its interval",
    "rows[].bits_per_character": "the same for one character",
    "rows[].by_kind": "the same figures for each kind of text",
    "rows[].decode_tokens_per_s": "median of a few runs; null with --no-speed",
    "rows[].scores": "what each suite gave, with the change to the base, paired by item",
    "rows[].passes": "whether the type keeps the gate",
    "rows[].reasons": "why it does not; empty when it does",
    "rows[].rules": "pattern and type of tensors that the mixture does not decide",
    "recommended": "the type; null when none keeps the gate",
    "monotone": "whether each larger file loses less",
    "stock[]": "llama.cpp's own mixtures beside them, where rules of ours hold",
    "stock_disorder": "what in these nobody asked for, and where a larger one is no better, in words",
    "notes": "what one must know to read the table",
}
