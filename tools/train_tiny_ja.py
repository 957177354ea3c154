"""Train tiny-ja, the Japanese language model that ships inside edgellm.

    python tools/train_tiny_ja.py tokenizer  --corpus DIR --work DIR
    python tools/train_tiny_ja.py pretrain   --corpus DIR --work DIR --steps 741
    python tools/train_tiny_ja.py tune       --corpus DIR --work DIR --steps 850
    python tools/train_tiny_ja.py export     --corpus DIR --work DIR --out src/edgellm/models/tiny-ja

With these steps the shipped weights were made, in 75 minutes of two shared cores. DIR holds
`aozora-train.txt.xz`, `statutes-train.txt.xz` and `aozora-heldout.txt.xz` (documents separated by a line with
a form feed). Every step is seeded and resumable: `pretrain` and `tune` save their whole state every few
minutes and go on from it when called again, also with another `--steps`.
`pretrain` reads the corpus at a constant learning rate. `tune` goes on from its state with instruction
pairs mixed into the corpus while the rate falls linearly to zero: the falling rate is what brings most
of the gain, so the pairs belong there, and the corpus beside them keeps the model from forgetting it.

Needs torch, sentencepiece, tokenizers, safetensors, numpy (the `dev` extra). Runs on a CPU; a CUDA
device is used where there is one.
"""

from __future__ import annotations

import argparse
import json
import lzma
import math
import random
import re
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import sentencepiece as spm
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tiny_ja_instructions import pairs

SEED = 20261121
UNK, BOS, RETURN, PAD, CONSTRAIN, CHANNEL, START, END, MESSAGE, CALL = 0, 1, 2, 4, 8, 9, 10, 11, 12, 13
# Names and ids of LLM-jp-4's special tokens, so that everything written for the big models is
# exercised by the small one.
SPECIAL_NAMES = [
    "<|unk|>", "<|startoftext|>", "<|return|>", "<|mask|>", "<|endoftext|>", "<|cls|>", "<|eod|>",
    "<|sep|>", "<|constrain|>", "<|channel|>", "<|start|>", "<|end|>", "<|message|>", "<|call|>",
]  # fmt: skip
HEADER_WORDS = ["assistant", "analysis", "final", "user", "system", "developer", "commentary"]
# The LLM-jp-4 Harmony dialect without tools: only the last assistant turn keeps its analysis, and only
# when the template is rendered for training (the turn is the last message and no answer is asked for).
CHAT_TEMPLATE = """\
{{- bos_token -}}
{%- if tools %}{{ raise_exception("tiny-ja was not trained to call tools: send the request without them") }}{% endif -%}
{%- for message in messages -%}
{%- if message.role in ("system", "developer", "user") -%}
<|start|>{{ message.role }}<|message|>{{ message.content }}<|end|>
{%- elif message.role == "assistant" and loop.last and not add_generation_prompt -%}
{%- if message.thinking %}<|start|>assistant<|channel|>analysis<|message|>{{ message.thinking }}<|end|>{% endif -%}
<|start|>assistant<|channel|>final<|message|>{{ message.content }}<|return|>
{%- elif message.role == "assistant" -%}
<|start|>assistant<|channel|>final<|message|>{{ message.content }}<|end|>
{%- else -%}
{{ raise_exception("tiny-ja knows the roles system, developer, user and assistant, not " + message.role) }}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt %}<|start|>assistant{% endif -%}
"""


@dataclass(frozen=True)
class Shape:
    """Sizes of the model; every matrix row is a multiple of 256 so that K-quants fit."""

    vocab_size: int = 8192
    hidden_size: int = 256
    intermediate_size: int = 768
    num_hidden_layers: int = 6
    num_attention_heads: int = 4
    num_key_value_heads: int = 2
    head_dim: int = 64
    max_position_embeddings: int = 1024
    rope_theta: float = 10000.0
    rms_norm_eps: float = 1e-5


class RMSNorm(nn.Module):
    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        x32 = x.float()
        return (x32 * torch.rsqrt(x32.pow(2).mean(-1, keepdim=True) + self.eps) * self.weight).to(x.dtype)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary embedding in the half-split layout of Hugging Face checkpoints; x: (batch, heads, time, dim)."""
    a, b = x.chunk(2, dim=-1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), dim=-1)


class Attention(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        q_width, kv_width = (
            shape.num_attention_heads * shape.head_dim,
            shape.num_key_value_heads * shape.head_dim,
        )
        self.q_proj = nn.Linear(shape.hidden_size, q_width, bias=False)
        self.k_proj = nn.Linear(shape.hidden_size, kv_width, bias=False)
        self.v_proj = nn.Linear(shape.hidden_size, kv_width, bias=False)
        self.o_proj = nn.Linear(q_width, shape.hidden_size, bias=False)
        self.q_norm: nn.Module = nn.Identity()  # of each head; Llama has none
        self.k_norm: nn.Module = nn.Identity()

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        batch, time_steps, _ = x.shape
        dim = self.shape.head_dim
        q = rotate(self.q_norm(self.q_proj(x).view(batch, time_steps, -1, dim)).transpose(1, 2), cos, sin)
        k = rotate(self.k_norm(self.k_proj(x).view(batch, time_steps, -1, dim)).transpose(1, 2), cos, sin)
        v = self.v_proj(x).view(batch, time_steps, -1, dim).transpose(1, 2)
        groups = self.shape.num_attention_heads // self.shape.num_key_value_heads
        k, v = k.repeat_interleave(groups, dim=1), v.repeat_interleave(groups, dim=1)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.o_proj(y.transpose(1, 2).reshape(batch, time_steps, -1))


class FeedForward(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(shape.hidden_size, shape.intermediate_size, bias=False)
        self.up_proj = nn.Linear(shape.hidden_size, shape.intermediate_size, bias=False)
        self.down_proj = nn.Linear(shape.intermediate_size, shape.hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(shape.hidden_size, shape.rms_norm_eps)
        self.self_attn = Attention(shape)
        self.post_attention_layernorm = RMSNorm(shape.hidden_size, shape.rms_norm_eps)
        self.mlp = FeedForward(shape)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), cos, sin)
        return x + self.mlp(self.post_attention_layernorm(x))


class TinyLlama(nn.Module):
    """A Llama with tied embeddings whose parameter names are those of a Hugging Face checkpoint (less `model.`)."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.embed_tokens = nn.Embedding(shape.vocab_size, shape.hidden_size)
        self.layers = nn.ModuleList(self.make_layer() for _ in range(shape.num_hidden_layers))
        self.norm = RMSNorm(shape.hidden_size, shape.rms_norm_eps)
        frequencies = shape.rope_theta ** (-torch.arange(0, shape.head_dim, 2).float() / shape.head_dim)
        angles = torch.outer(torch.arange(shape.max_position_embeddings).float(), frequencies)
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)
        for name, weight in self.named_parameters():
            if weight.ndim == 2:
                scale = 0.02
                if name.endswith(("o_proj.weight", "down_proj.weight")):
                    scale /= math.sqrt(2 * shape.num_hidden_layers)
                nn.init.normal_(weight, std=scale)

    def make_layer(self) -> nn.Module:
        return Layer(self.shape)

    def logits(self, ids: Tensor) -> Tensor:
        x = self.embed_tokens(ids)
        cos, sin = self.cos[: ids.shape[1]].to(x.dtype), self.sin[: ids.shape[1]].to(x.dtype)
        for layer in self.layers:
            x = layer(x, cos, sin)
        return F.linear(self.norm(x), self.embed_tokens.weight)

    def forward(self, ids: Tensor, targets: Tensor) -> Tensor:
        """Mean cross-entropy in nats; targets of −1 are not counted."""
        return F.cross_entropy(self.logits(ids).flatten(0, 1).float(), targets.flatten(), ignore_index=-1)


def documents(path: Path) -> list[str]:
    text = lzma.decompress(path.read_bytes()).decode("utf-8")
    return [d.strip("\n") for d in text.split("\f") if d.strip()]


def train_tokenizer(corpus: Path, work: Path) -> None:
    """SentencePiece Unigram with byte fallback, trained on lines drawn from the training text."""
    rng = random.Random(SEED)
    lines: list[str] = []
    for name, count in (("aozora-train", 260_000), ("statutes-train", 30_000)):
        found = [line for d in documents(corpus / f"{name}.txt.xz") for line in d.split("\n") if 2 < len(line) < 1500]
        lines += rng.sample(found, min(count, len(found)))
    spm.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_prefix=str(work / "tokenizer"), model_type="unigram",
        vocab_size=Shape.vocab_size, character_coverage=0.9990, byte_fallback=True, split_digits=True,
        normalization_rule_name="identity", remove_extra_whitespaces=False, add_dummy_prefix=True,
        required_chars="".join(map(chr, range(33, 127))), num_threads=2, max_sentence_length=6000,
        unk_id=UNK, bos_id=BOS, eos_id=RETURN, pad_id=PAD, unk_piece=SPECIAL_NAMES[UNK],
        bos_piece=SPECIAL_NAMES[BOS], eos_piece=SPECIAL_NAMES[RETURN], pad_piece=SPECIAL_NAMES[PAD],
        control_symbols=[n for i, n in enumerate(SPECIAL_NAMES) if i not in (UNK, BOS, RETURN, PAD)],
    )  # fmt: skip
    give_header_words_a_piece(work / "tokenizer.model")
    encode_corpus(corpus, work)


def give_header_words_a_piece(path: Path) -> None:
    """Replace the least likely long pieces by the words of Harmony headers.

    The training text is Japanese, so `assistant` would cost eight tokens at the head of every answer.
    """
    from sentencepiece import sentencepiece_model_pb2 as model_pb2

    model = model_pb2.ModelProto.FromString(path.read_bytes())
    normal = [p for p in model.pieces if p.type == model_pb2.ModelProto.SentencePiece.NORMAL and len(p.piece) > 2]
    rarest = sorted(normal, key=lambda p: p.score)[: len(HEADER_WORDS)]
    for piece, word in zip(rarest, HEADER_WORDS, strict=True):
        piece.piece, piece.score = "▁" + word, -9.0
    path.write_bytes(model.SerializeToString())


def encode_corpus(corpus: Path, work: Path) -> None:
    """Token ids of the training text (all of one source, a fifth of the other) and of the held-out text."""
    rng = random.Random(SEED)
    pieces = spm.SentencePieceProcessor(model_file=str(work / "tokenizer.model"))
    assert [pieces.id_to_piece(i) for i in range(14)] == SPECIAL_NAMES
    for name, share in (("aozora-train", 1.0), ("statutes-train", 0.2)):
        texts = documents(corpus / f"{name}.txt.xz")
        texts = rng.sample(texts, round(len(texts) * share))
        ids = [np.array([BOS, *row, PAD], np.uint16) for row in pieces.encode(texts, num_threads=2)]
        np.save(work / f"{name}.npy", np.concatenate(ids))
        print(
            f"{name}: {sum(map(len, ids)):,} tokens of {sum(len(t.encode()) for t in texts):,} bytes",
            flush=True,
        )
    held = [[BOS, *row, PAD] for row in pieces.encode(documents(corpus / "aozora-heldout.txt.xz"), num_threads=2)]
    (work / "heldout.json").write_text(json.dumps(held))


def export_tokenizer(work: Path, out: Path) -> None:
    """The tokenizer files of a Hugging Face checkpoint: `tokenizer.model`, the same vocabulary for the
    `tokenizers` library, the configuration that names special tokens, and the chat template."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers

    pieces = spm.SentencePieceProcessor(model_file=str(work / "tokenizer.model"))
    vocabulary = [(pieces.id_to_piece(i), pieces.get_score(i)) for i in range(pieces.get_piece_size())]
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=UNK, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence([
        decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0),
    ])  # fmt: skip
    specials = [AddedToken(n, normalized=False, special=True) for n in SPECIAL_NAMES]
    tokenizer.add_special_tokens(specials)
    out.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(out / "tokenizer.json"))
    (out / "tokenizer.model").write_bytes((work / "tokenizer.model").read_bytes())
    flags = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": True}
    config = {
        "added_tokens_decoder": {str(i): {"content": n, **flags} for i, n in enumerate(SPECIAL_NAMES)},
        "add_bos_token": True, "add_eos_token": False, "bos_token": SPECIAL_NAMES[BOS],
        "eos_token": SPECIAL_NAMES[RETURN], "pad_token": SPECIAL_NAMES[PAD], "unk_token": SPECIAL_NAMES[UNK],
        "clean_up_tokenization_spaces": False, "model_max_length": Shape.max_position_embeddings,
        "tokenizer_class": "PreTrainedTokenizerFast",
    }  # fmt: skip
    (out / "tokenizer_config.json").write_text(json.dumps(config, indent=1) + "\n")
    (out / "chat_template.jinja").write_text(CHAT_TEMPLATE)


def export_model(model: TinyLlama, out: Path) -> None:
    """`config.json`, `generation_config.json` and `model.safetensors` (bf16) of a LlamaForCausalLM."""
    from safetensors.torch import save_file

    shape = asdict(model.shape)
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", **shape, "hidden_act": "silu",
        "attention_bias": False, "mlp_bias": False, "attention_dropout": 0.0, "rope_scaling": None,
        "tie_word_embeddings": True, "torch_dtype": "bfloat16", "initializer_range": 0.02,
        "bos_token_id": BOS, "eos_token_id": RETURN, "pad_token_id": PAD, "pretraining_tp": 1, "use_cache": True,
    }  # fmt: skip
    out.mkdir(parents=True, exist_ok=True)
    (out / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    generation = {"bos_token_id": BOS, "eos_token_id": [RETURN, PAD, CALL], "pad_token_id": PAD,
                  "do_sample": True, "temperature": 0.7, "top_p": 0.9}  # fmt: skip
    (out / "generation_config.json").write_text(json.dumps(generation, indent=1) + "\n")
    weights = {f"model.{n}": p.detach().to(torch.bfloat16).contiguous() for n, p in model.named_parameters()}
    save_file(weights, out / "model.safetensors", metadata={"format": "pt"})


def windows(work: Path, length: int) -> Tensor:
    """All training windows of `length`+1 tokens, in the order in which they are seen."""
    stream = np.concatenate([np.load(work / f"{n}.npy") for n in ("aozora-train", "statutes-train")])
    count = (len(stream) - 1) // length
    starts = np.random.default_rng(SEED).permutation(count) * length
    return torch.from_numpy(np.stack([stream[s : s + length + 1] for s in starts]).astype(np.int64))


def optimizers(model: TinyLlama, rate: float, embedding_rate: float) -> list[torch.optim.Optimizer]:
    """Muon for the matrices between layers, AdamW for the embedding, the norms and the routers."""
    own_rate = re.compile(r"embed_tokens|mlp\.gate\.")  # the embedding, and the routers of a mixture of experts
    matrices = [p for n, p in model.named_parameters() if p.ndim == 2 and not own_rate.search(n)]
    others = [p for n, p in model.named_parameters() if p.ndim != 2 or own_rate.search(n)]
    return [
        torch.optim.Muon(matrices, lr=rate, momentum=0.95, nesterov=True, weight_decay=0.05),
        torch.optim.AdamW(others, lr=embedding_rate, betas=(0.9, 0.95), weight_decay=0.0, fused=True),
    ]


def held_out_bits_per_byte(model: TinyLlama, corpus: Path, work: Path, limit: int | None, length: int = 512) -> float:
    """Bits per UTF-8 byte of `aozora-heldout`, cut into windows of `length` tokens; `limit` caps the tokens."""
    texts = documents(corpus / "aozora-heldout.txt.xz")
    rows, held_bytes, tokens = [], 0, 0
    for ids, text in zip(json.loads((work / "heldout.json").read_text()), texts, strict=True):
        if limit and tokens >= limit:
            break
        tokens += len(ids)
        held_bytes += len(text.encode())
        rows += [ids[i : i + length + 1] for i in range(0, len(ids) - 1, length)]
    nats = 0.0
    model.eval()
    device = model.embed_tokens.weight.device
    with torch.no_grad(), torch.autocast(device.type, torch.bfloat16):
        for i in range(0, len(rows), 8):
            part = rows[i : i + 8]
            width = max(map(len, part))
            block = torch.tensor([r + [-1] * (width - len(r)) for r in part], device=device)
            inputs, targets = block[:, :-1].clamp(min=0), block[:, 1:]
            logits = model.logits(inputs).float()
            nats += F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-1, reduction="sum").item()
    model.train()
    return nats / math.log(2) / held_bytes


RATES = (0.02, 0.004)  # of Muon and of AdamW
WARM_UP_STEPS = 60


def run(
    stage: str, model: TinyLlama, batches: Callable[[int], tuple[Tensor, Tensor]],
    rate_share: Callable[[int], float], steps: int, work: Path, corpus: Path, compiles: bool = True,
    begins_from: str | None = None,
) -> None:  # fmt: skip
    """The training loop of all stages. `batches(step)` gives (ids, targets); `rate_share(step)` scales the rates.

    Goes on from the state file of this stage, or else from the last one of the stage `begins_from`, where there is one.
    """
    device = next(model.parameters()).device
    opts = optimizers(model, *RATES)
    state_file, step, seen, elapsed = work / f"{stage}.pt", 0, 0, 0.0
    states = [state_file, *([work / f"{begins_from}.pt"] if begins_from else [])]
    found = next((f for f in states if f.exists()), None)
    if found:
        state = torch.load(found, weights_only=True)
        model.load_state_dict(state["model"])
        for opt, saved in zip(opts, state["optimizers"], strict=True):
            opt.load_state_dict(saved)
        seen, elapsed = state["tokens"], state["seconds"]
        step = state["step"] if found == state_file else 0
        print(f"{stage}: going on from {found.name} at step {step}", flush=True)
    compiled = torch.compile(model) if compiles else model
    began, last_save, smooth = time.monotonic() - elapsed, time.monotonic(), None

    def save() -> None:
        aside = state_file.with_suffix(".tmp")
        torch.save({"model": model.state_dict(), "optimizers": [o.state_dict() for o in opts], "step": step,
                    "tokens": seen, "seconds": time.monotonic() - began}, aside)  # fmt: skip
        aside.replace(state_file)

    while step < steps:
        for opt, rate in zip(opts, RATES, strict=True):
            for group in opt.param_groups:
                group["lr"] = rate * rate_share(step)
        ids, targets = (t.to(device) for t in batches(step))
        with torch.autocast(device.type, torch.bfloat16):
            loss = compiled(ids, targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for opt in opts:
            opt.step()
            opt.zero_grad(set_to_none=True)
        step, seen = step + 1, seen + ids.numel()
        smooth = loss.item() if smooth is None else 0.98 * smooth + 0.02 * loss.item()
        if step % 20 == 0 or step == steps:
            spent = time.monotonic() - began
            print(f"{stage} {step}/{steps} loss {smooth:.3f} {seen / spent:.0f} tok/s {spent:.0f} s", flush=True)
        if step % 400 == 0:
            print(
                f"{stage} {step} held-out bits per byte {held_out_bits_per_byte(model, corpus, work, 60_000):.4f}",
                flush=True,
            )
        if time.monotonic() - last_save > 180 or step == steps:
            save()
            last_save = time.monotonic()
    print(
        f"{stage}: held-out bits per byte {held_out_bits_per_byte(model, corpus, work, 120_000):.4f}",
        flush=True,
    )


def pretrain(corpus: Path, work: Path, steps: int) -> None:
    model = fresh_model()
    data = windows(work, 512)
    print(
        f"{sum(p.numel() for p in model.parameters()):,} parameters, {len(data):,} windows of 512 tokens",
        flush=True,
    )

    def batches(step: int) -> tuple[Tensor, Tensor]:
        block = data[torch.arange(step * 12, (step + 1) * 12) % len(data)]
        return block[:, :-1], block[:, 1:]

    run("pretrain", model, batches, lambda step: min(1.0, (step + 1) / WARM_UP_STEPS), steps, work, corpus)


def tune(corpus: Path, work: Path, steps: int) -> None:
    """Four windows of corpus and two of conversations a step, all of 1,024 tokens, the model's whole context."""
    model = fresh_model()
    length = Shape.max_position_embeddings
    data = windows(work, length)
    pieces = spm.SentencePieceProcessor(model_file=str(work / "tokenizer.model"))

    def batches(step: int) -> tuple[Tensor, Tensor]:
        # From the end of the order, so that the windows that `pretrain` has not reached come first.
        block = data[-1 - torch.arange(step * 4, (step + 1) * 4) % len(data)]
        rng = random.Random(SEED * 100_003 + step)
        chats = [conversation_window(pieces, rng, length) for _ in range(2)]
        ids = torch.cat([block[:, :-1], torch.tensor([c[0] for c in chats])])
        return ids, torch.cat([block[:, 1:], torch.tensor([c[1] for c in chats])])

    run("tune", model, batches, lambda step: 1.0 - step / steps, steps, work, corpus, begins_from="pretrain")


def fresh_model() -> TinyLlama:
    torch.manual_seed(SEED)
    return TinyLlama(Shape()).to("cuda" if torch.cuda.is_available() else "cpu")


def conversation_window(
    pieces: spm.SentencePieceProcessor, rng: random.Random, length: int
) -> tuple[list[int], list[int]]:
    """Conversations after one another, as (ids, targets) of `length`; only what the assistant says is a target."""
    ids: list[int] = []
    spoken: list[bool] = []
    source = pairs(rng)
    while len(ids) <= length:
        turns = 2 if rng.random() < 0.15 else 1
        ids.append(BOS)
        spoken.append(False)
        if rng.random() < 0.1:
            add_message(ids, spoken, pieces, "system", [(MESSAGE, rng.choice(SYSTEM_TEXTS))], END, heard=False)
        for turn in range(turns):
            question, analysis, answer = next(source)
            add_message(ids, spoken, pieces, "user", [(MESSAGE, question)], END, heard=False)
            if turn + 1 < turns:  # earlier turns keep their answer and lose their analysis, as in the template
                add_message(
                    ids,
                    spoken,
                    pieces,
                    "assistant",
                    [(CHANNEL, "final"), (MESSAGE, answer)],
                    END,
                    heard=False,
                )
            else:
                add_message(ids, spoken, pieces, "assistant", [(CHANNEL, "analysis"), (MESSAGE, analysis)], END)
                add_message(ids, spoken, pieces, "assistant", [(CHANNEL, "final"), (MESSAGE, answer)], RETURN)
    targets = [i if said else -1 for i, said in zip(ids, spoken, strict=True)]
    return ids[:length], targets[1 : length + 1]


SYSTEM_TEXTS = ["あなたは親切な助手です。", "短く丁寧に答えてください。", "日本語で答えてください。"]


def add_message(
    ids: list[int], spoken: list[bool], pieces: spm.SentencePieceProcessor, role: str,
    parts: list[tuple[int, str]], end: int, heard: bool = True,
) -> None:  # fmt: skip
    """Append one Harmony message; `heard`: the model learns to say it."""
    row = [START, *pieces.encode(role)]
    for special, text in parts:
        row += [special, *pieces.encode(text)]
    row.append(end)
    # The prompt ends with `<|start|>assistant`; a second message of the same answer is opened by the model.
    opens_itself = heard and bool(ids) and spoken[-1]
    ids += row
    spoken += [opens_itself] + [heard] * (len(row) - 1)


SAMPLE_START = "　その朝、窓をあけると、"


def sample(model: TinyLlama, work: Path, start: str, tokens: int = 100) -> str:
    """`start` and what the model makes of it: temperature 0.7, top-p 0.9, a fixed seed."""
    pieces = spm.SentencePieceProcessor(model_file=str(work / "tokenizer.model"))
    draw = torch.Generator().manual_seed(SEED)
    ids = [BOS, *pieces.encode(start)]
    model.eval()
    with torch.no_grad():
        for _ in range(tokens):
            share, order = torch.softmax(model.logits(torch.tensor([ids]))[0, -1] / 0.7, -1).sort(descending=True)
            share[share.cumsum(0) - share > 0.9] = 0
            ids.append(int(order[torch.multinomial(share, 1, generator=draw)]))
            if ids[-1] in (PAD, RETURN):
                break
    return pieces.decode(ids)


def export(corpus: Path, work: Path, out: Path) -> None:
    """Write the checkpoint folder and print what the model card states."""
    state = torch.load(work / "tune.pt", weights_only=True)
    model = TinyLlama(Shape())
    model.load_state_dict(state["model"])
    # Measure the weights that ship: rounded to bf16.
    model.to(torch.bfloat16).float()
    export_tokenizer(work, out)
    export_model(model, out)
    facts = {
        "parameters": sum(p.numel() for p in model.parameters()),
        "tokens": state["tokens"],
        "steps": torch.load(work / "pretrain.pt", weights_only=True, mmap=True)["step"],
        "tune_steps": state["step"],
        "bits_per_byte": held_out_bits_per_byte(model, corpus, work, None),
        "bits_per_byte_1024": held_out_bits_per_byte(model, corpus, work, None, 1024),
        "sample": sample(model, work, SAMPLE_START).replace("\n", "\n> "),
    }
    card = (Path(__file__).parent / "tiny_ja_card.md").read_text(encoding="utf-8")
    (out / "MODEL_CARD.md").write_text(card.format(**facts), encoding="utf-8")
    print(json.dumps(facts))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("stage", choices=["tokenizer", "pretrain", "tune", "export"])
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=900)
    parser.add_argument("--out", type=Path, default=Path("src/edgellm/models/tiny-ja"))
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    if args.stage == "tokenizer":
        train_tokenizer(args.corpus, args.work)
    elif args.stage == "pretrain":
        pretrain(args.corpus, args.work, args.steps)
    elif args.stage == "tune":
        tune(args.corpus, args.work, args.steps)
    else:
        export(args.corpus, args.work, args.out)


if __name__ == "__main__":
    main()
