"""Train tiny-moe, a small mixture of experts for trying quantization on: it is made, not shipped.

    python tools/train_tiny_moe.py --corpus DIR --work DIR --out DIR [--steps 600]

It has LLM-jp-4 32B-A3B's class (Qwen3MoeForCausalLM) and its traps in small: experts that are no multiple of 256
wide (160, in blocks of 32), heads that together are wider than the hidden state, norms on queries and keys.
Tokenizer, corpus and training loop are tiny-ja's (`train_tiny_ja.py`); the rate stays for the first half of the steps
and falls linearly to zero in the second. 600 steps are 3.7 million tokens. Seeded and resumable: called again, it goes
on from the last saved state.
"""

from __future__ import annotations

import argparse
import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from train_tiny_ja import (
    BOS,
    CALL,
    PAD,
    RETURN,
    SEED,
    WARM_UP_STEPS,
    Attention,
    FeedForward,
    RMSNorm,
    Shape,
    TinyLlama,
    encode_corpus,
    export_tokenizer,
    held_out_bits_per_byte,
    run,
    windows,
)  # fmt: skip

TINY_JA = Path(__file__).parent.parent / "src" / "edgellm" / "models" / "tiny-ja"
BALANCE = 0.01  # weight of the loss that keeps experts equally busy


@dataclass(frozen=True)
class MoeShape(Shape):
    """`intermediate_size` is the width of one expert while training; config.json calls it moe_intermediate_size."""

    intermediate_size: int = 160
    num_hidden_layers: int = 4
    num_attention_heads: int = 6
    num_experts: int = 16
    num_experts_per_tok: int = 4


class NormedAttention(Attention):
    """Attention with an RMSNorm over each head's query and key, before they are rotated."""

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        self.q_norm = RMSNorm(shape.head_dim, shape.rms_norm_eps)
        self.k_norm = RMSNorm(shape.head_dim, shape.rms_norm_eps)


class Experts(nn.Module):
    """Each token goes through the `num_experts_per_tok` experts that its router likes best, weighed so that they
    sum to 1 (`norm_topk_prob`)."""

    def __init__(self, shape: MoeShape) -> None:
        super().__init__()
        self.used = shape.num_experts_per_tok
        self.gate = nn.Linear(shape.hidden_size, shape.num_experts, bias=False)
        self.experts = nn.ModuleList(FeedForward(shape) for _ in range(shape.num_experts))
        self.imbalance: Tensor = torch.zeros(())

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(0, 1)
        shares = torch.softmax(self.gate(tokens).float(), -1)
        weights, chosen = shares.topk(self.used, -1)
        weights = weights / weights.sum(-1, keepdim=True)
        busy = F.one_hot(chosen, len(self.experts)).sum(1).float()  # (tokens, experts)
        # Fedus, Zoph and Shazeer 2021, equation 4: least when every expert gets the same share of tokens.
        self.imbalance = len(self.experts) * (busy.mean(0) / self.used * shares.mean(0)).sum()
        out = torch.zeros_like(tokens, dtype=torch.float32)
        for number, expert in enumerate(self.experts):
            rows, places = (chosen == number).nonzero(as_tuple=True)
            out.index_add_(0, rows, expert(tokens[rows]).float() * weights[rows, places, None])
        return out.to(x.dtype).view_as(x)


class MoeLayer(nn.Module):
    def __init__(self, shape: MoeShape) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(shape.hidden_size, shape.rms_norm_eps)
        self.self_attn = NormedAttention(shape)
        self.post_attention_layernorm = RMSNorm(shape.hidden_size, shape.rms_norm_eps)
        self.mlp = Experts(shape)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), cos, sin)
        return x + self.mlp(self.post_attention_layernorm(x))


class TinyMoe(TinyLlama):
    shape: MoeShape

    def make_layer(self) -> nn.Module:
        return MoeLayer(self.shape)

    def forward(self, ids: Tensor, targets: Tensor) -> Tensor:
        loss = super().forward(ids, targets)
        return loss + BALANCE * torch.stack([layer.mlp.imbalance for layer in self.layers]).mean()


def train(corpus: Path, work: Path, steps: int) -> TinyMoe:
    torch.manual_seed(SEED)
    model = TinyMoe(MoeShape())
    data = windows(work, 512)
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters, {len(data):,} windows of 512 tokens", flush=True)

    def batches(step: int) -> tuple[Tensor, Tensor]:
        block = data[torch.arange(step * 12, (step + 1) * 12) % len(data)]
        return block[:, :-1], block[:, 1:]

    def rate_share(step: int) -> float:
        return min(1.0, (step + 1) / WARM_UP_STEPS, 2 * (1 - step / steps))

    run("moe", model, batches, rate_share, steps, work, corpus, compiles=False)  # every step has other shapes
    return model


def export(model: TinyMoe, corpus: Path, work: Path, out: Path) -> None:
    from safetensors.torch import save_file

    export_tokenizer(work, out)
    shape = asdict(model.shape)
    width = shape.pop("intermediate_size")
    config = {
        "architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe", **shape, "intermediate_size": 768,
        "moe_intermediate_size": width, "norm_topk_prob": True, "decoder_sparse_step": 1, "mlp_only_layers": [],
        "hidden_act": "silu", "attention_bias": False, "rope_scaling": None, "tie_word_embeddings": True,
        "use_sliding_window": False, "torch_dtype": "bfloat16",
        "bos_token_id": BOS, "eos_token_id": RETURN, "pad_token_id": PAD,
    }  # fmt: skip
    (out / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    generation = {"bos_token_id": BOS, "eos_token_id": [RETURN, PAD, CALL], "pad_token_id": PAD}
    (out / "generation_config.json").write_text(json.dumps(generation, indent=1) + "\n")
    weights = {f"model.{n}": p.detach().to(torch.bfloat16).contiguous() for n, p in model.named_parameters()}
    save_file(weights, out / "model.safetensors", metadata={"format": "pt"})
    print(json.dumps({"bits_per_byte": held_out_bits_per_byte(model, corpus, work, None)}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=600)
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    if not (args.work / "heldout.json").exists():
        shutil.copyfile(TINY_JA / "tokenizer.model", args.work / "tokenizer.model")
        encode_corpus(args.corpus, args.work)
    export(train(args.corpus, args.work, args.steps), args.corpus, args.work, args.out)


if __name__ == "__main__":
    main()
