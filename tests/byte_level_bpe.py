"""Small byte-level BPE tokenizers, trained when a test needs one, with the pre-tokenizers of published models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import tokenizers

from japanese_samples import SENTENCES


def _split(regex: str) -> dict[str, Any]:
    return {"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": False}


def _byte_level(use_regex: bool = False) -> dict[str, Any]:
    return {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": use_regex}


# By llama.cpp's name, as tokenizer.json of Qwen2.5 and Qwen3, Llama 3, gpt-oss, DeepSeek-V3, Mistral Nemo, GPT-2 and
# StarCoder state it.
PRE_TOKENIZERS: dict[str, list[dict[str, Any]]] = {
    "qwen2": [
        _split(
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
            r"|\s+(?!\S)|\s+"
        ),
        _byte_level(),
    ],
    "llama-bpe": [
        _split(
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
            r"|\s+(?!\S)|\s+"
        ),
        _byte_level(),
    ],
    "gpt-4o": [
        _split(
            r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
            r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
            r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
        ),
        _byte_level(),
    ],
    "deepseek-v3": [
        _split(r"\p{N}{1,3}"),
        _split("[一-龥\u3040-ゟ゠-ヿ]+"),
        _split(
            "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+"
            "| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+"
        ),
        _byte_level(),
    ],
    "tekken": [
        _split(
            r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
            r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
            r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
        ),
        _byte_level(),
    ],
    "gpt-2": [_byte_level(use_regex=True)],
    "starcoder": [{"type": "Digits", "individual_digits": True}, _byte_level(use_regex=True)],
}
WHOLE_WORDS = ("llama-bpe", "tekken")  # a word that is a token is taken whole, whatever the merges say
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
TEXT = [
    *SENTENCES, "It's 2026, and we're HERE; they'll say I'M late!", "HelloWorld fooBar 12345 1234567 3.14 ÀÉÎõü",
    "a\r\n\r\nb  \n\n  c\t\td // /// \n/",
    "番号は１２３４５、値段は1980円（税込2178円）です。",
]  # fmt: skip
CHAT_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def byte_level_bpe(folder: Path, name: str, vocab_tokens: int = 500) -> Path:
    """Tokenizer files in `folder`: `vocab_tokens` trained on a few lines, three special tokens and an ordinary one."""
    steps = PRE_TOKENIZERS[name]
    sequence = {"type": "Sequence", "pretokenizers": steps} if len(steps) > 1 else steps[0]
    empty = tokenizers.Tokenizer(tokenizers.models.BPE(ignore_merges=name in WHOLE_WORDS))
    described = json.loads(empty.to_str()) | {
        "pre_tokenizer": sequence,
        "decoder": _byte_level(),
        "normalizer": {"type": "NFC"} if name == "qwen2" else None,
    }
    tokenizer = tokenizers.Tokenizer.from_str(json.dumps(described))
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=vocab_tokens, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(TEXT, trainer)
    tokenizer.add_special_tokens(SPECIAL)
    tokenizer.add_tokens(["<think>"])
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>",
        "chat_template": CHAT_TEMPLATE,
    }  # fmt: skip
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder
