from __future__ import annotations

import re
from collections import namedtuple
from contextlib import nullcontext
from pathlib import Path

import gguf
import numpy as np
import pytest

from edgellm.engines.gguf import loading
from edgellm.engines.gguf import quantize as quantize_module
from edgellm.engines.gguf.child import Child
from edgellm.engines.gguf.imatrix import collect
from edgellm.engines.gguf.imatrix_file import Entry, Imatrix
from edgellm.engines.gguf.quantize import quantize
from edgellm.engines.gguf.types import FILE_TYPES, TENSOR_TYPES
from edgellm.engines.protocol import RuntimeOptions
from edgellm.errors import BadInput, EngineFailed, NoSpace, UsageError
from edgellm.records.quantization import QuantizeReport
from edgellm.store import digest, disk
from tiny_gguf import VOCAB, dense_gguf, experts_gguf

CHUNKS = np.random.default_rng(1).integers(0, VOCAB, (2, 64)).tolist()


@pytest.fixture(scope="module")
def dense(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return dense_gguf(tmp_path_factory.mktemp("dense") / "dense.gguf")


@pytest.fixture(scope="module")
def tied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return dense_gguf(tmp_path_factory.mktemp("tied") / "tied.gguf", layers=8, tied=True)


@pytest.fixture(scope="module")
def experts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return experts_gguf(tmp_path_factory.mktemp("experts") / "experts.gguf")


@pytest.fixture(scope="module")
def imatrix(dense: Path) -> Imatrix:
    return collect(dense, CHUNKS)


@pytest.fixture(autouse=True)
def one_child(long_lived_child: Child, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantize_module, "Child", lambda module, work: nullcontext(long_lived_child))


def got(report: QuantizeReport) -> dict[str, str]:
    return {t.name: t.got for t in report.tensors}


@pytest.mark.parametrize("name", FILE_TYPES)
def test_every_file_type_is_written_with_the_size_that_its_tensors_say_and_loads(
    tmp_path: Path, dense: Path, imatrix: Imatrix, name: str
) -> None:
    out = tmp_path / "out.gguf"
    report = quantize(dense, out, name, imatrix if FILE_TYPES[name].needs_imatrix else None)
    kind = FILE_TYPES[name]
    sizes = [TENSOR_TYPES[t.got].size_bytes(t.shape[0], t.shape[1] * t.shape[2]) for t in report.tensors]
    assert report.tensor_bytes == sum(sizes)
    assert report.size_bytes == out.stat().st_size >= report.tensor_bytes
    assert report.bits_per_weight == 8 * report.tensor_bytes / report.weights
    # MXFP4_MOE gives MXFP4 to experts only, and this model has none.
    default = "Q8_0" if name == "MXFP4_MOE" else kind.default
    assert got(report)["blk.0.ffn_gate.weight"] == default
    assert got(report)["blk.0.attn_norm.weight"] == "F32"
    assert report.fallbacks == []
    loading.llama_cpp.llama_model_free(loading.load_model(loading.checked_header(out), RuntimeOptions()))


def test_the_report_is_what_the_written_file_holds(tmp_path: Path, dense: Path) -> None:
    report = quantize(dense, tmp_path / "out.gguf", "Q4_K_M")
    reader = gguf.GGUFReader(tmp_path / "out.gguf")
    assert got(report) == {t.name: t.tensor_type.name for t in reader.tensors}
    assert report.tensor_bytes == sum(t.n_bytes for t in reader.tensors)
    assert report.weights == sum(t.n_elements for t in reader.tensors)
    assert reader.fields["general.file_type"].contents() == FILE_TYPES["Q4_K_M"].number


def test_the_bytes_are_the_same_at_any_number_of_threads(tmp_path: Path, dense: Path, imatrix: Imatrix) -> None:
    for name in ("Q4_K_M", "IQ3_S"):
        digests = set()
        for threads in (1, 2, 3):
            quantize(dense, tmp_path / "out.gguf", name, imatrix, threads=threads)
            digests.add(digest.of_file(tmp_path / "out.gguf"))
        assert len(digests) == 1


def test_the_source_is_not_changed_and_nothing_else_is_left(tmp_path: Path) -> None:
    source = dense_gguf(tmp_path / "dense.gguf")
    before = digest.of_file(source)
    quantize(source, tmp_path / "out.gguf", "Q8_0")
    assert digest.of_file(source) == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["dense.gguf", "out.gguf"]


def test_an_importance_matrix_changes_the_weights_and_is_named_in_the_metadata(
    tmp_path: Path, dense: Path, imatrix: Imatrix
) -> None:
    named = Imatrix(imatrix.entries, imatrix.chunk_count, 512, ("日本語" * 20,), "calibration.gguf")
    with_it = quantize(dense, tmp_path / "with.gguf", "Q4_K_M", named)
    without = quantize(dense, tmp_path / "without.gguf", "Q4_K_M")
    weighed = {t.name for t in with_it.tensors if t.imatrix}
    assert weighed == imatrix.entries.keys()
    assert not any(t.imatrix for t in without.tensors)
    a, b = (
        {t.name: t.data.tobytes() for t in gguf.GGUFReader(tmp_path / f).tensors} for f in ("with.gguf", "without.gguf")
    )
    assert {name for name in a if a[name] != b[name]} == weighed
    fields = gguf.GGUFReader(tmp_path / "with.gguf").fields
    assert {n: fields[n].contents() for n in fields if n.startswith("quantize.")} == {
        "quantize.imatrix.file": "calibration.gguf",
        "quantize.imatrix.dataset": ("日本語" * 20)[:42],  # llama.cpp holds 127 bytes; no character is cut in two
        "quantize.imatrix.entries_count": len(imatrix.entries),
        "quantize.imatrix.chunks_count": 2,
    }


@pytest.mark.parametrize(("types", "asked"), [({}, "Q6_K"), ({"ffn_down_exps": "IQ4_XS"}, "IQ4_XS")])
def test_a_type_whose_blocks_do_not_fit_is_refused_with_those_that_do(
    tmp_path: Path, experts: Path, types: dict[str, str], asked: str
) -> None:
    """The mixture asks for Q6_K in this layer; rows of 96 fit blocks of 32 only."""
    advised = {"Q6_K": "Q8_0", "IQ4_XS": "IQ4_NL"}[asked]
    with pytest.raises(UsageError) as refused:
        quantize(experts, tmp_path / "out.gguf", "Q4_K_M", tensor_types=types)
    for part in (
        f"blk.0.ffn_down_exps.weight would be {asked}", "rows of 96", f"--tensor-type ffn_down_exps={advised} ",
        "fit Q8_0, Q5_1, Q5_0, Q4_1, Q4_0, IQ4_NL, MXFP4, F32, F16, BF16", "--allow-fallback",
    ):  # fmt: skip
        assert part in str(refused.value)
    assert list(tmp_path.iterdir()) == []


def test_a_fitting_type_named_for_the_tensors_is_what_they_get_and_the_report_says_by_which_rule(
    tmp_path: Path, experts: Path
) -> None:
    report = quantize(experts, tmp_path / "out.gguf", "Q4_K_M", tensor_types={"ffn_down_exps": "IQ4_NL"})
    assert report.fallbacks == []
    reasons = {t.name: (t.got, t.reason) for t in report.tensors}
    assert reasons["blk.0.ffn_down_exps.weight"] == ("IQ4_NL", "the pattern 'ffn_down_exps'")
    assert reasons["blk.0.attn_q.weight"] == ("Q4_K", "the mixture Q4_K_M")
    assert reasons["blk.0.attn_norm.weight"] == ("F32", "stays as it is in the source")


@pytest.mark.parametrize(
    ("types", "asked", "got", "rule"),
    [({}, "Q6_K", "Q8_0", "mixture Q4_K_M"), ({"down": "IQ4_XS"}, "IQ4_XS", "IQ4_NL", "pattern 'down'")],
)
def test_llama_cpp_s_replacement_is_taken_where_it_is_allowed_and_the_report_says_so(
    tmp_path: Path, experts: Path, types: dict[str, str], asked: str, got: str, rule: str
) -> None:
    report = quantize(experts, tmp_path / "out.gguf", "Q4_K_M", tensor_types=types, allow_fallback=True)
    because = f"the {rule} asks for {asked}, whose blocks do not fit rows of 96"
    assert [(t.name, t.requested, t.got, t.reason) for t in report.fallbacks] == [
        ("blk.0.ffn_down_exps.weight", asked, got, because)
    ]


def test_a_width_that_fits_no_block_at_all_refuses_the_type(tmp_path: Path, experts: Path) -> None:
    with pytest.raises(EngineFailed, match="type fallback is defined for type q1_0"):
        quantize(experts, tmp_path / "out.gguf", "Q1_0")
    with pytest.raises(UsageError, match=r"rows of 96 of blk\.0\.ffn_down_exps"):
        quantize(experts, tmp_path / "out.gguf", "Q4_K_M", tensor_types={"ffn_down_exps": "Q1_0"})
    assert list(tmp_path.iterdir()) == []


def test_naming_types_for_some_layers_does_not_shift_the_mixture_of_the_others(tmp_path: Path, tied: Path) -> None:
    plain = got(quantize(tied, tmp_path / "a.gguf", "Q4_K_M"))
    named = got(quantize(tied, tmp_path / "b.gguf", "Q4_K_M", tensor_types={r"^blk\.[0-3]\.attn_v": "Q8_0"}))
    value = [f"blk.{i}.attn_v.weight" for i in range(8)]
    assert [plain[name] for name in value] == ["Q6_K", "Q4_K", "Q4_K", "Q6_K", "Q4_K", "Q4_K", "Q6_K", "Q6_K"]
    assert [named[name] for name in value] == ["Q8_0"] * 4 + [plain[name] for name in value[4:]]
    assert {n: t for n, t in plain.items() if n not in value} == {n: t for n, t in named.items() if n not in value}


def test_the_first_pattern_that_matches_decides(tmp_path: Path, dense: Path) -> None:
    types = {"attn_output": "Q5_0", "output": "Q8_0", "_norm|attn_q": "bf16"}
    named = got(quantize(dense, tmp_path / "a.gguf", "Q4_0", tensor_types=types))
    assert named["blk.0.attn_output.weight"] == "Q5_0"
    assert named["output.weight"] == "Q8_0"
    assert named["blk.0.attn_q.weight"] == "BF16"
    assert named["blk.0.attn_norm.weight"] == "F32"  # never quantized, whatever is asked
    assert named["blk.0.attn_k.weight"] == "Q4_0"


def test_every_tensor_type_can_be_named_for_a_tensor(tmp_path: Path, tied: Path) -> None:
    names = [f"blk.{i}.{part}.weight" for i in range(8) for part in ("attn_q", "ffn_up", "ffn_gate", "ffn_down")]
    ones = Entry(np.ones((1, 256), np.float32), np.ones(1, np.float32))
    types = dict(zip(names, TENSOR_TYPES, strict=False))
    assert len(types) == len(TENSOR_TYPES)
    patterns = {f"^{re.escape(name)}$": kind for name, kind in types.items()}
    report = quantize(tied, tmp_path / "a.gguf", "Q8_0", Imatrix(dict.fromkeys(names, ones), 1, 512), patterns)
    assert {name: kind for name, kind in got(report).items() if name in types} == types


def test_types_can_be_named_in_a_float_file_too(tmp_path: Path, dense: Path) -> None:
    report = quantize(dense, tmp_path / "a.gguf", "F16", tensor_types={"ffn_up": "Q8_0", "token_embd": "BF16"})
    names = got(report)
    assert (names["blk.0.ffn_up.weight"], names["token_embd.weight"]) == ("Q8_0", "BF16")
    assert {t for n, t in names.items() if n.startswith("blk.0.attn") and "norm" not in n} == {"F16"}
    fields = gguf.GGUFReader(tmp_path / "a.gguf").fields
    assert fields["general.file_type"].contents() == FILE_TYPES["F16"].number


@pytest.mark.parametrize(
    ("types", "sentence"),
    [
        ({"nothing": "Q8_0"}, "'nothing' decides no tensor"),
        ({"attn": "Q8_0", "attn_v": "Q4_K"}, "'attn_v' decides no tensor"),
        ({"_norm": "Q8_0"}, "'_norm' decides no tensor"),
        ({"attn_v": "Q4KK"}, "did you mean Q4_K"),
        ({"attn_v": "I8"}, "cannot hold weights"),
        ({"(": "Q8_0"}, "no regular expression"),
        ({"attn_v": "IQ1_M"}, r"blk\.0\.attn_v\.weight as IQ1_M needs an importance matrix"),
        ({"token_embd": "IQ2_XXS"}, r"token_embd\.weight as IQ2_XXS needs an importance matrix"),
    ],
)
def test_tensor_types_that_cannot_be_obeyed_are_refused(
    tmp_path: Path, dense: Path, types: dict[str, str], sentence: str
) -> None:
    with pytest.raises(UsageError, match=sentence):
        quantize(dense, tmp_path / "out.gguf", "Q4_K_M", tensor_types=types)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", [n for n, t in FILE_TYPES.items() if t.needs_imatrix])
def test_types_that_need_an_importance_matrix_are_refused_without_one(tmp_path: Path, dense: Path, name: str) -> None:
    with pytest.raises(UsageError, match=f"{name} needs an importance matrix"):
        quantize(dense, tmp_path / "out.gguf", name)


def test_a_matrix_that_misses_a_tensor_which_needs_it_is_refused(tmp_path: Path, dense: Path, imatrix: Imatrix) -> None:
    entries = {n: e for n, e in imatrix.entries.items() if "ffn_up" not in n}
    with pytest.raises(UsageError, match=r"blk\.0\.ffn_up\.weight as IQ2_XXS needs an importance matrix that covers"):
        quantize(dense, tmp_path / "out.gguf", "IQ2_XXS", Imatrix(entries, 1, 512))


def test_the_matrix_of_another_model_is_refused(tmp_path: Path, dense: Path) -> None:
    wrong = Entry(np.ones((1, 128), np.float32), np.ones(1, np.float32))
    with pytest.raises(BadInput, match="names no tensor of this model"):
        quantize(dense, tmp_path / "out.gguf", "Q4_K_M", Imatrix({"blk.9.attn_q.weight": wrong}, 1, 512))
    with pytest.raises(BadInput, match=r"128 values for blk\.0\.attn_q\.weight and the tensor 256 inputs"):
        quantize(dense, tmp_path / "out.gguf", "Q4_K_M", Imatrix({"blk.0.attn_q.weight": wrong}, 1, 512))


def test_a_file_that_is_quantized_already_is_refused(tmp_path: Path, dense: Path) -> None:
    quantize(dense, tmp_path / "q8.gguf", "Q8_0")
    with pytest.raises(BadInput, match="is Q8_0 already; quantize from the F16"):
        quantize(tmp_path / "q8.gguf", tmp_path / "q4.gguf", "Q4_0")
    assert not (tmp_path / "q4.gguf").exists()


def test_sources_that_are_no_model_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x.gguf").write_bytes(b"no model")
    with pytest.raises(BadInput, match="not a GGUF file"):
        quantize(tmp_path / "x.gguf", tmp_path / "out.gguf", "Q8_0")
    with pytest.raises(BadInput, match="there is no file"):
        quantize(tmp_path / "absent.gguf", tmp_path / "out.gguf", "Q8_0")


def test_the_source_is_never_written_over(dense: Path) -> None:
    with pytest.raises(UsageError, match="is the source itself"):
        quantize(dense, dense, "Q8_0")


def test_a_disk_that_is_too_small_is_known_before_anything_is_written(
    tmp_path: Path, dense: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    needed = quantize(dense, tmp_path / "out.gguf", "Q4_0").size_bytes
    (tmp_path / "out.gguf").unlink()
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda _: usage(10**9, 0, needed - 1))
    with pytest.raises(NoSpace):
        quantize(dense, tmp_path / "out.gguf", "Q4_0")
    assert list(tmp_path.iterdir()) == []


def test_progress_counts_weights_to_the_last_one(tmp_path: Path, dense: Path) -> None:
    seen: list[tuple[int, int]] = []
    report = quantize(dense, tmp_path / "a.gguf", "Q8_0", on_progress=lambda done, total: seen.append((done, total)))
    assert len(seen) == len(report.tensors)
    assert sorted(seen) == seen
    assert seen[-1] == (report.weights, report.weights)
