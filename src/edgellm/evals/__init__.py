"""What a model is worth: suites of items, how each is asked and scored, and what the scores come to."""
