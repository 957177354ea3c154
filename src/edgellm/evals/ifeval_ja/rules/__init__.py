"""The rules, by what they look at. Each is a function of the answer's text and the instruction's arguments."""
