"""Finding and counting things in long Japanese text, which is generated so that no training data can hold it."""
