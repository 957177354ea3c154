"""Instructions in Japanese whose following a program can check: M-IFEval's rules and rules of ours."""
