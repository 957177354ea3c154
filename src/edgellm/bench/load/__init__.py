"""Load on any OpenAI-compatible server: what is sent and when, what came back and when, and what that amounts to."""
