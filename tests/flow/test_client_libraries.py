"""Clients that people use work against `edgellm serve`, each installed apart from edgellm."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from live_server import announced_url
from oracles import oracle
from tool_models import tool_model

SCRIPTS = Path(__file__).parents[1] / "client_scripts"
PATIENCE_S = 120


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`edgellm serve` of a model whose template knows tools."""
    checkpoint = tool_model(tmp_path_factory.mktemp("clients") / "tools")
    command = [sys.executable, "-m", "edgellm", "serve", str(checkpoint), "--port", "0", "--threads", "1"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        yield announced_url(process)
    finally:
        process.terminate()
        process.communicate(timeout=60)


def answers_of(script: str, url: str, folder: Path) -> dict[str, object]:
    python = oracle("EDGELLM_CLIENTS")
    # A client that wanted anybody else would fail here: every other name goes to a closed port.
    environment = {
        **os.environ,
        "https_proxy": "http://127.0.0.1:9",
        "LLM_USER_PATH": str(folder),
        "NO_PROXY": "127.0.0.1",
    }
    command = [str(python), str(SCRIPTS / script), url, "tools"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("script", ["openai_client.py", "langchain_client.py", "litellm_client.py"])
def test_chat_stream_tools_schema_and_usage(script: str, url: str, tmp_path: Path) -> None:
    found = answers_of(script, url, tmp_path)
    assert found["stream"] == found["chat"]
    assert found["tool"] == "get_weather"
    assert found["arguments"] in ({"都市": "東京"}, {"都市": "大阪"})
    assert_schema_and_usage(found)


def test_the_llm_tool(url: str, tmp_path: Path) -> None:
    found = answers_of("llm_client.py", url, tmp_path)
    assert found["stream"] == found["chat"]
    assert found["tools_accepted"]
    assert_schema_and_usage(found)


def assert_schema_and_usage(found: dict[str, object]) -> None:
    schema, usage = found["schema"], found["usage"]
    assert isinstance(schema, dict)
    assert isinstance(usage, list)
    assert schema.keys() == {"天気", "雨の確率"}
    assert schema["天気"] in ("晴れ", "雨")
    assert schema["雨の確率"] in (0, 50, 100)
    assert min(usage) > 0
    assert found["stream_usage"] == usage


def test_guidellm_measures_it(url: str, tmp_path: Path) -> None:
    program, tokenizer = oracle("EDGELLM_GUIDELLM"), Path(__file__).parents[2] / "src/edgellm/models/tiny-ja"
    out = tmp_path / "guidellm.json"
    command = [
        str(program), "run", "--backend", f"kind=openai_http,target={url},model=tools", "--profile",
        "kind=concurrent,streams=2", "--constraint", "kind=max_requests,count=4", "--tokenizer",
        f"kind=hf_auto,model={tokenizer}", "--data", "kind=synthetic_text,prompt_tokens=32,output_tokens=16",
        "--output", f"kind=json,path={out}", "--disable-console",
    ]  # fmt: skip
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stderr[-3000:]
    (measured,) = json.loads(out.read_text())["benchmarks"]
    totals = measured["metrics"]["request_totals"]
    assert totals["successful"] >= 4
    assert totals["errored"] == 0
