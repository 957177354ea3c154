"""Japanese MT-Bench: two-turn questions, answers that a judge marks, and the protocols that count the marks."""
