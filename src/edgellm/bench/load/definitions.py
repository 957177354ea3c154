"""What each measure means here; other tools mean other things by the same names, so it is printed with the numbers."""

DEFINITIONS = {
    "ttft_ms": "from the time the plan had the request sent (closed loop: its client was free) to the arrival of the "
    "first event with text; waiting for this generator and connecting are in it",
    "tpot_ms": "(E2E - TTFT) / (output tokens - 1) of each answer of two tokens or more, as the server counts them",
    "itl_ms": "gaps between neighbouring events with text, of all answers pooled; an event may hold several tokens",
    "e2e_ms": "from the time the plan had the request sent to the arrival of the end of its stream ([DONE])",
    "lateness_ms": "from the time the plan had a request sent to its sending; of all requests",
    "output_tokens_per_s": "output tokens of whole answers, as the server counts them, over the time from the start to "
    "the end of the last whole answer",
    "goodput_per_s": "whole answers a second that kept every limit of the SLO",
    "intervals": "95 %, by bootstrap over requests",
    "requests": "ok: a whole answer with text; rejected: 429 or 503; failed: all else. Only ok ones take part in "
    "latencies and rates",
}
