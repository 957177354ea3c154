"""`/metrics` for Prometheus: llama.cpp's names where it has one, and histograms of what a user waits for.

The rates that llama.cpp gives are averages since its last scrape, which two scrapers take from one another; here
they are averages since the server began. `rate()` over the counters gives any other.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import Response

from edgellm.inference.generation import SchedulerState
from edgellm.serve.outcome import Outcome

States = Callable[[], Mapping[str, SchedulerState]]  # by the name of each model that is loaded

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
# Upper ends of histograms, in seconds.
LONG = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500)
SHORT = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
PER_TOKEN = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.04, 0.06, 0.08, 0.1, 0.15, 0.25, 0.5, 1, 2.5)


@dataclass
class Totals:
    """What the requests for one model add up to; times are in seconds."""

    prompt_tokens: int = 0  # without cached ones
    cached_tokens: int = 0
    prompt_s: float = 0.0
    tokens: int = 0
    token_s: float = 0.0
    longest: int = 0

    def add(self, outcome: Outcome) -> None:
        self.prompt_tokens += outcome.prompt_tokens - outcome.cached_tokens
        self.cached_tokens += outcome.cached_tokens
        self.tokens += outcome.completion_tokens
        self.longest = max(self.longest, outcome.prompt_tokens + outcome.completion_tokens)
        if outcome.ttft_s is not None:
            self.prompt_s += max(0.0, outcome.ttft_s - (outcome.queue_s or 0.0))
        self.token_s += outcome.decode_s or 0.0


class Metrics:
    """Counts the outcomes of requests. Observing and rendering happen on the event loop."""

    def __init__(self, states: States) -> None:
        self._registry = CollectorRegistry()  # not the process's own: several servers may run in one process
        self._totals: defaultdict[str, Totals] = defaultdict(Totals)
        self._requests = Counter(
            "edgellm_requests", "Requests for an answer, by what became of them.", ["model", "endpoint", "outcome"],
            registry=self._registry,
        )  # fmt: skip
        self._queue = self._histogram("edgellm_queue_seconds", "From arrival to the first step on the prompt.", SHORT)
        self._ttft = self._histogram("edgellm_ttft_seconds", "From arrival to the first token.", SHORT)
        self._tpot = self._histogram("edgellm_tpot_seconds", "Time per output token after the first.", PER_TOKEN)
        self._e2e = self._histogram("edgellm_e2e_seconds", "From arrival to the end of a whole answer.", LONG)
        self._registry.register(ModelMetrics(states, self._totals))

    def _histogram(self, name: str, what: str, ends: tuple[float, ...]) -> Histogram:
        return Histogram(name, what, ["model"], buckets=ends, registry=self._registry)

    def observe(self, outcome: Outcome) -> None:
        model = outcome.model
        self._requests.labels(model, outcome.endpoint, outcome.ending).inc()
        if outcome.ending == "refused":
            return
        self._totals[model].add(outcome)
        if outcome.queue_s is not None:
            self._queue.labels(model).observe(outcome.queue_s)
        if outcome.ttft_s is not None:
            self._ttft.labels(model).observe(outcome.ttft_s)
        if outcome.decode_s is not None and outcome.completion_tokens > 1:
            self._tpot.labels(model).observe(outcome.decode_s / (outcome.completion_tokens - 1))
        if outcome.ending == "answered":
            self._e2e.labels(model).observe(outcome.e2e_s)

    def render(self) -> bytes:
        """The text format of Prometheus."""
        return generate_latest(self._registry)


class ModelMetrics(Collector):
    """What is known of each model when somebody asks."""

    def __init__(self, states: States, totals: Mapping[str, Totals]) -> None:
        self._states = states
        self._totals = totals

    def describe(self) -> Iterable[Metric]:
        return []  # whatever the models are; nothing is registered twice here

    def collect(self) -> Iterator[Metric]:
        states = self._states()
        gauge, counter = GaugeMetricFamily, CounterMetricFamily

        def by_state(kind: type[Metric], name: str, what: str, value: Callable[[SchedulerState], float]) -> Metric:
            return family(kind, name, what, {model: value(state) for model, state in states.items()})

        def by_totals(kind: type[Metric], name: str, what: str, value: Callable[[Totals], float]) -> Metric:
            return family(kind, name, what, {model: value(totals) for model, totals in self._totals.items()})

        yield by_totals(counter, "prompt_tokens", "Prompt tokens computed.", lambda t: t.prompt_tokens)
        yield by_totals(counter, "prompt_tokens_cached", "Prompt tokens from the cache.", lambda t: t.cached_tokens)
        yield by_totals(counter, "prompt_seconds", "Time spent on prompts, over all requests.", lambda t: t.prompt_s)
        yield by_totals(counter, "tokens_predicted", "Tokens generated.", lambda t: t.tokens)
        yield by_totals(
            counter, "tokens_predicted_seconds", "Time from first to last token, over all requests.",
            lambda t: t.token_s,
        )  # fmt: skip
        yield by_totals(
            gauge, "prompt_tokens_seconds", "Prompt tokens a second, on average.",
            lambda t: ratio(t.prompt_tokens, t.prompt_s),
        )  # fmt: skip
        yield by_totals(
            gauge, "predicted_tokens_seconds", "Tokens a second within an answer, on average.",
            lambda t: ratio(t.tokens, t.token_s),
        )  # fmt: skip
        yield by_totals(gauge, "n_tokens_max", "Most tokens of one prompt and its answer.", lambda t: t.longest)
        yield by_state(gauge, "requests_processing", "Requests being answered.", lambda s: s.running)
        yield by_state(gauge, "requests_deferred", "Requests that wait for a place.", lambda s: s.waiting)
        yield by_state(counter, "n_decode", "Steps of the engine.", lambda s: s.steps)
        yield by_state(counter, "spec_decode_num_draft_tokens", "Tokens drafted.", lambda s: s.drafted_tokens)
        yield by_state(counter, "spec_decode_num_accepted_tokens", "Drafts accepted.", lambda s: s.accepted_tokens)


def family(kind: type[Metric], name: str, what: str, values: Mapping[str, float]) -> Metric:
    """A metric of llama.cpp's, with the model as a label; a counter's name gets `_total` at its end."""
    assert issubclass(kind, (GaugeMetricFamily, CounterMetricFamily))
    made = kind(f"llamacpp:{name}", what, labels=["model"])
    for model, value in values.items():
        made.add_metric([model], value)
    return made


def ratio(amount: float, seconds: float) -> float:
    return amount / seconds if seconds else 0.0


async def metrics(request: Request) -> Response:
    found: Metrics = request.app.state.metrics
    return Response(found.render(), media_type=CONTENT_TYPE)
