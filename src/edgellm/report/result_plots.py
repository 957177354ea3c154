"""The plots of a report on result files: throughput, roofline, time to the first token under load, size and loss."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from edgellm.records.bench import EngineTest, LoadBench
from edgellm.report.collected import Entry, demo_entries, engine_entries, load_entries
from edgellm.report.ladders import ladder_points
from edgellm.report.line_plots import Bound, Series, Spot, lines
from edgellm.report.numbers import fixed_text, significant_text
from edgellm.report.plots import Axis, Point, scatter

SHARES = ("p50", "p99")
PARALLEL_TICKS = tuple(2.0**n for n in range(11))
Figure = tuple[Markup, str, str]  # the plot, and what it shows in Japanese and English
BARS = (
    "縦棒は測定の最小から最大まで、白丸は有効でない結果です。",
    "Bars run from the slowest to the fastest run; a hollow point is not valid.",
)
INTERVALS = ("縦棒は 95 % 区間、白丸は有効でない結果です。", "Bars are 95 % intervals; a hollow point is not valid.")
LOADS = (("rate_per_s", "到着率 (件/s)", "requests a second"), ("concurrency", "同時接続数", "clients at once"))


def figures(entries: Sequence[Entry]) -> list[Figure]:
    """Those for which there is something to show."""
    made = [
        throughput(entries, "tg", "生成", "Decode"), throughput(entries, "pp", "入力処理", "Prompt processing"),
        roofline(entries), *under_load(entries), size_and_loss(entries),
    ]  # fmt: skip
    return [each for each in made if each[0]]


def kind_of(test: EngineTest) -> str:
    return test.kind or test.test[:2]


def rate_words(entry: Entry, test: EngineTest) -> str:
    rate = test.tokens_per_s
    return f"{entry.letter} {test.test}: {rate.median:.4g} token/s ({rate.low:.4g} to {rate.high:.4g})"


def spot_of(entry: Entry, test: EngineTest, x: float) -> Spot:
    rate = test.tokens_per_s
    return Spot(x, rate.median, rate.low, rate.high, rate_words(entry, test), entry.valid)


def throughput(entries: Sequence[Entry], kind: str, ja: str, en: str) -> Figure:
    """Tokens a second of all sequences together against how many there are; a series for each file and depth."""
    series = []
    for entry, result in engine_entries(entries):
        tests = [t for t in result.results if kind_of(t) == kind]
        for depth in sorted({t.depth for t in tests}):
            for length in sorted({t.tokens or 0 for t in tests if t.depth == depth}):
                own = [t for t in tests if (t.depth, t.tokens or 0) == (depth, length)]
                label = f"{entry.letter} d{depth}" if depth else entry.letter
                series.append(Series(label, [spot_of(entry, t, float(t.parallel)) for t in own]))
    plot = lines(
        f"throughput-{kind}", f"同時に処理する系列数と{ja}速度 {en} speed against sequences at once",
        "横軸は同時に処理する系列の数、縦軸は全系列を合わせた速度。値は表を参照。 "
        "Sequences at once across, tokens a second of all together up; the values are in the tables.",
        Axis("同時に処理する系列数", "sequences at once", "between", PARALLEL_TICKS),
        Axis(f"{ja}速度 (token/s)", f"{en.lower()} speed (token/s)", "logarithmic"), series,
    )  # fmt: skip
    depth_ja = "系列名の d は、KV キャッシュにあらかじめ入れたトークン数です。"
    depth_en = f"{en} speed against sequences processed at once, both logarithmic; d: tokens held before."
    return plot, f"同時に処理する系列数と{ja}速度（両軸とも対数）。{depth_ja}{BARS[0]}", f"{depth_en} {BARS[1]}"


def roofline(entries: Sequence[Entry]) -> Figure:
    """Decode tests where the bytes of a token are known, under what each device's memory could deliver."""
    series: list[Series] = []
    bounds: dict[str, float] = {}
    for entry, result in engine_entries(entries):
        known = [(t, t.bytes_per_token) for t in result.results if t.bytes_per_token and kind_of(t) == "tg"]
        spots = [spot_of(entry, test, size_bytes / 1e9) for test, size_bytes in known]
        if spots:
            series.append(Series(entry.letter, spots))
            if result.ceilings is not None:
                amount = result.ceilings.memory_bandwidth_bytes_per_s / 1e9
                bounds[f"{fixed_text(amount, 0) if amount >= 100 else significant_text(amount)} GB/s"] = amount
    plot = lines(
        "roofline", "1 トークンに読むバイト数と生成速度 Bytes a token against decode speed",
        "横軸は 1 トークンに読むバイト数、縦軸は生成速度、斜線は測定したメモリ帯域による上限。値は表を参照。 "
        "Bytes read for a token across, decode speed up; the slanting line: what the measured bandwidth allows.",
        Axis("1 トークンに読む量 (GB)", "read for a token (GB)", "logarithmic"),
        Axis("生成速度 (token/s)", "decode speed (token/s)", "logarithmic"), series,
        [Bound(label, amount) for label, amount in bounds.items()],
    )  # fmt: skip
    ja = f"ルーフライン（両軸とも対数）。斜線は、測定したメモリ帯域で読み切れる速度の上限です。{BARS[0]}"
    en = "The roofline, both axes logarithmic: the slanting line is as fast as the measured memory bandwidth allows."
    return plot, ja, f"{en} {BARS[1]}"


def under_load(entries: Sequence[Entry]) -> list[Figure]:
    """TTFT of sweeps against the rate, and against the clients, as far as there are such."""
    made = []
    for key, ja, en in LOADS:
        plot = lines(
            f"ttft-{key.replace('_', '-')}", f"負荷と TTFT（{ja}） TTFT against load ({en})",
            f"横軸は{ja}、縦軸は TTFT（ミリ秒）、どちらも対数。値は表を参照。 "
            f"{en.capitalize()} across, TTFT in ms up, both logarithmic; the values are in the table.",
            Axis(ja, en, "logarithmic"), Axis("TTFT (ms)", "TTFT (ms)", "logarithmic"),
            [series_of(entry, result, key, share) for entry, result in load_entries(entries) for share in SHARES],
        )  # fmt: skip
        made.append((
            plot, f"負荷（{ja}）と、最初のトークンまでの時間の p50・p99（両軸とも対数）。{INTERVALS[0]}",
            f"Load ({en}) against p50 and p99 of the time to the first token, both logarithmic. {INTERVALS[1]}",
        ))  # fmt: skip
    return made


def series_of(entry: Entry, result: LoadBench, key: str, share: str) -> Series:
    """One percentile of TTFT over the steps of a sweep that were at such a load."""
    spots = []
    for step in result.steps or (result,):
        load, ttft = getattr(step, key), step.ttft_ms
        if load and ttft:
            value = getattr(ttft, share)
            words = f"{entry.letter} {step.label}: TTFT {share} {value:.4g} ms"
            ends = getattr(ttft, f"{share}_low"), getattr(ttft, f"{share}_high")
            spots.append(Spot(float(load), value, *ends, words, entry.valid))
    return Series(f"{entry.letter} {share}", spots)


def size_and_loss(entries: Sequence[Entry]) -> Figure:
    """Of the types that a demo's record holds, or a ladder."""
    rows = [(entry, row.type, row.size_bytes, row.fidelity.mean_kld, False)
            for entry, result in demo_entries(entries) for row in result.formats]  # fmt: skip
    rows += ladder_points(entries)
    several = len({entry.letter for entry, *_ in rows}) > 1
    points = [
        Point(f"{entry.letter} {name}" if several else name, size / 1e6, kld.value, kld.low, kld.high, chosen)
        for entry, name, size, kld, chosen in rows
    ]
    plot = scatter(
        "size", "ファイルの大きさと平均 KLD Size against mean KLD",
        "横軸はファイルの大きさ、縦軸は平均 KLD（対数）。値は表を参照。 "
        "File size across, mean KL divergence up on a logarithmic axis; the values are in the table.",
        Axis("ファイルの大きさ (MB)", "file size (MB)"),
        Axis("平均 KLD (nat/token)", "mean KLD (nat/token)", "decades"), points,
    )  # fmt: skip
    ja = "ファイルの大きさと平均 KLD（縦軸は対数、縦棒は 95 % 区間）。左下ほど小さく、忠実です。白丸は 0 です。"
    en = "Size against mean KLD (logarithmic; bars: 95 % intervals). Lower left is small and faithful; hollow: 0."
    return plot, ja, en
