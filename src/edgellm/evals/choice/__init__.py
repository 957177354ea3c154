"""Multiple-choice questions: by likelihood or by what a model writes, the medical exam's points, and flips."""
