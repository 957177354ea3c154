"""What the keys of result files are called in Japanese and English."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from markupsafe import Markup

from edgellm.report.numbers import any_value, gibibytes

Names = Mapping[str, tuple[str, str]]

MODEL: Names = {
    "name": ("モデル", "Model"),
    "parameters": ("パラメータ数", "Parameters"),
    "vocab_tokens": ("語彙数", "Vocabulary"),
    "bundled_type": ("バンドルした型", "Bundled type"),
    "licence": ("ライセンス", "Licence"),
    "verification_documents": ("検証用テキストの文書数", "Verification text, documents"),
    "verification_bytes": ("検証用テキストのバイト数", "Verification text, bytes"),
}
MACHINE: Names = {
    "cpu": ("CPU", "CPU"),
    "board": ("ボード", "Board"),
    "architecture": ("アーキテクチャ", "Architecture"),
    "cores": ("使用可能なコア数", "Usable cores"),
    "instruction_sets": ("拡張命令セット", "Instruction sets"),
    "memory_bytes": ("メモリ", "Memory"),
    "system": ("OS", "System"),
    "python": ("Python", "Python"),
}
STEPS: Names = {
    "convert": ("変換", "Convert"),
    "calibrate and quantize": ("キャリブレーションと量子化", "Calibrate and quantize"),
    "measure fidelity": ("忠実度の測定", "Measure fidelity"),
    "bench": ("速度の測定", "Bench"),
    "verify and bundle": ("検証とバンドル作成", "Verify and bundle"),
    "serve and ask": ("サーバーの起動と質問", "Serve and ask"),
}
CHECKS: Names = {
    "digests": ("ファイルのダイジェスト", "Digests"),
    "structure": ("ファイルの構造", "Structure"),
    "tensor types": ("テンソルの型", "Tensor types"),
    "tokenizer round trip": ("トークナイザーの往復変換", "Tokenizer round trip"),
    "vocabulary pieces": ("語彙の一致", "Vocabulary pieces"),
    "generates": ("テキストの生成", "Generates"),
    "finite logits": ("ロジットが有限値であること", "Finite logits"),
    "mean KLD": ("平均 KLD（区間の上端）", "Mean KLD, upper end"),
    "perplexity ratio": ("パープレキシティ比（区間の上端）", "Perplexity ratio, upper end"),
    "same top token": ("最上位一致率（区間の下端）", "Same top token, lower end"),
}
DETAILS: Names = {
    "tensors inside the file": ("ファイルに含まれるテンソルの数", "tensors inside the file"),
    "pieces that differ from the tokenizer's": (
        "トークナイザーと一致しない語彙項目の数",
        "pieces that differ from the tokenizer's",
    ),
}

KINDS: Names = {
    "engine": ("エンジンの速度", "engine speed"),
    "load": ("負荷試験", "load"),
    "demo": ("デモの記録", "demo record"),
    "eval": ("品質評価", "evaluation"),
    "ladder": ("量子化の型の比較", "type ladder"),
}
TEXT_KINDS: Names = {
    "literary": ("文芸", "literary"),
    "statute": ("法令", "statute"),
    "everyday": ("日常", "everyday"),
    "business": ("ビジネス", "business"),
    "technical": ("技術", "technical"),
    "english": ("英語", "English"),
    "code": ("コード", "code"),
}
STATUS: Names = {
    "met": ("達成", "met"),
    "missed": ("未達", "missed"),
    "undecided": ("判定できず", "undecided"),
    "unmeasured": ("未測定", "unmeasured"),
}
MARKS: Names = {
    "V": ("一次資料で確認", "read in a primary source"),
    "V2": ("二次資料のみ", "second-hand only"),
    "R": ("記憶による", "from memory"),
    "C": ("計算値", "computed"),
}
WHY_UNMEASURED: Names = {
    "what shows it is no figure of a result file": (
        "結果ファイルの数値では示せません",
        "what shows it is no figure of a result file",
    ),
    "no valid result file shows it": ("これを示す有効な結果ファイルがありません", "no valid result file shows it"),
}


@dataclass(frozen=True)
class Line:
    """One named value of a list of facts."""

    ja: str
    en: str
    value: Markup


def names_of(key: str, names: Names) -> tuple[str, str]:
    """(Japanese, English); a key that no table knows stands for itself."""
    return names.get(key, (key, key))


def limit_names(limit: float | str | None) -> tuple[Markup, Markup]:
    """A check's limit; `holds X` (a type that must be among those of a file) is a phrase of two languages."""
    if isinstance(limit, str) and limit.startswith("holds "):
        return Markup("{} を含む").format(limit.removeprefix("holds ")), any_value(limit)
    return any_value(limit), any_value(limit)


def lines(values: Mapping[str, object], names: Names) -> list[Line]:
    """The values in the order of `names`, then those that it does not know."""
    order = [k for k in names if k in values] + [k for k in values if k not in names]
    return [Line(*names_of(key, names), shown(key, values[key])) for key in order]


def shown(key: str, value: object) -> Markup:
    """Memory, which comes as bytes, in GiB; anything else as it is."""
    if key.endswith("memory_bytes") and isinstance(value, int):
        return Markup("{} GiB").format(gibibytes(value))
    return any_value(value)
