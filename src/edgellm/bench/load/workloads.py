"""What is asked: Japanese workloads of our own text, of chosen lengths, the same for the same seed."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import product
from typing import Any

from edgellm.errors import UsageError
from edgellm.store import catalogue

Count = Callable[[str], float]  # tokens of a text, exactly or about
NO_PROSE = ("code", "english")
POOL = 64  # texts of each length
DOCUMENTS = 8  # of the document workload, which asks several questions about each
FIT_ROUNDS = 5
FIT_SHARE = 0.01  # a prompt may be so much longer or shorter than asked for


@dataclass(frozen=True)
class Shape:
    """How a workload's messages are made: an instruction, and prose before or after it."""

    name: str
    what: str
    lengths: tuple[tuple[int | None, int], ...]  # tokens of prompt and answer, drawn evenly; None: the question alone
    prose_first: bool
    texts: int = POOL

    def message(self, instruction: str, prose: str) -> str:
        if not prose:
            return instruction
        return f"{prose}\n\n{instruction}" if self.prose_first else f"{instruction}\n\n{prose}"


SHAPES = {
    shape.name: shape
    for shape in (
        Shape("chat", "short questions of everyday and office life", ((None, 64), (None, 128), (None, 256)), True),
        Shape("document", "a question about a long document", ((1024, 128), (2048, 192), (3072, 256)), True, DOCUMENTS),
        Shape("translation", "Japanese to English", ((128, 128), (256, 256), (512, 512)), False),
        Shape("extraction", "facts from a text, as JSON", ((256, 96), (512, 128), (1024, 192)), False),
    )
}


@dataclass(frozen=True)
class WorkloadOptions:
    name: str = "chat"
    prompt_tokens: tuple[int, ...] = ()  # of the first message; none: the workload's own lengths
    output_tokens: tuple[int, ...] = ()
    turns: int = 1
    cache_busting: bool = False
    ignore_eos: bool = False
    seed: int = 0


@dataclass(frozen=True)
class Conversation:
    """What one client says, turn by turn, and how long each answer may be."""

    messages: tuple[str, ...]
    output_tokens: int


class Workload:
    """Conversation `number` is the same whenever it is asked for, whoever asks for the ones before it.

    With `nonce`, of a run, each conversation begins with a mark that no other has, so that a server can reuse nothing
    that it computed before but what its chat template begins with.
    """

    def __init__(self, options: WorkloadOptions, count: Count, nonce: str = "") -> None:
        """Raises UsageError for an unknown name."""
        if options.name not in SHAPES:
            raise UsageError(f"there is no workload {options.name!r}; known are {', '.join(SHAPES)}")
        self.options, self._count, self._nonce = options, count, nonce
        self.shape = with_lengths(SHAPES[options.name], options)
        self._instructions = texts_of(options.name)
        self._follow_ups = texts_of("follow_ups")
        self._prepared: dict[tuple[int, int, int], str] = {}

    def describe(self) -> dict[str, Any]:
        """What a result says of the workload."""
        options = self.options
        return {
            "name": options.name, "what": self.shape.what, "seed": options.seed, "turns": options.turns,
            "lengths": [{"prompt_tokens": prompt, "output_tokens": output} for prompt, output in self.shape.lengths],
            "cache_busting": options.cache_busting, "ignore_eos": options.ignore_eos, "temperature": 0,
        }  # fmt: skip

    def conversation(self, number: int) -> Conversation:
        dice = random.Random(self.options.seed * 1_000_003 + number)
        prompt_tokens, output_tokens = dice.choice(self.shape.lengths)
        text, instruction = dice.randrange(self.shape.texts), dice.randrange(len(self._instructions))
        first = self._mark(number) + self._message(prompt_tokens, text, instruction)
        later = [dice.choice(self._follow_ups) for _ in range(self.options.turns - 1)]
        return Conversation((first, *later), output_tokens)

    def prepare(self, conversations: int) -> None:
        """Make the texts of so many conversations now, so that none is made while time is taken."""
        lengths = dict.fromkeys(prompt for prompt, _ in self.shape.lengths)
        every = list(product(lengths, range(self.shape.texts), range(len(self._instructions))))
        if conversations < len(every):
            for number in range(conversations):
                self.conversation(number)
        else:
            for key in every:
                self._message(*key)

    def _mark(self, number: int) -> str:
        return f"【整理番号 {self._nonce}{number:07d}】\n" if self.options.cache_busting else ""

    def _message(self, tokens: int | None, text: int, instruction: int) -> str:
        words = self._instructions[instruction]
        if tokens is None:
            return words
        key = (tokens, text, instruction)
        if key not in self._prepared:
            prose = rotated(random.Random(f"{self.options.seed}/{tokens}/{text}"))
            self._prepared[key] = self._fitted(words, prose, tokens)
        return self._prepared[key]

    def _fitted(self, instruction: str, prose: str, tokens: int) -> str:
        """The message of so many tokens, the mark included; an instruction that is longer stands alone."""
        mark = self._mark(0)

        def made(characters: int) -> str:
            text = prose * (characters // len(prose) + 1)
            return self.shape.message(instruction, text[: max(0, characters)].strip())

        characters = tokens
        for _ in range(FIT_ROUNDS):
            message = made(characters)
            found = self._count(mark + message)
            if abs(found - tokens) <= FIT_SHARE * tokens or (found > tokens and not characters):
                break
            per_token = len(mark + message) / max(1.0, found)
            characters = max(0, characters + round((tokens - found) * per_token))
        return made(characters)


def with_lengths(shape: Shape, options: WorkloadOptions) -> Shape:
    """The workload with the lengths that were asked for; where both were, with every pair of them."""
    lengths: list[tuple[int | None, int]] = []
    for prompt, output in shape.lengths:
        lengths += product(options.prompt_tokens or (prompt,), options.output_tokens or (output,))
    return replace(shape, lengths=tuple(dict.fromkeys(lengths)))


def exact(target: str) -> Count:
    """Counts with the tokenizer of a TARGET; raises what its loading raises."""
    from edgellm.inference.target import resolve

    tokenizer = resolve(target).tokenizer()
    return lambda text: len(tokenizer.encode(text))


@cache
def texts_of(name: str) -> Sequence[str]:
    """The instructions or questions of a workload."""
    return catalogue.read_documents(catalogue.TEXTS / "workloads" / f"{name}.txt")


@cache
def japanese_prose() -> Sequence[str]:
    """Every document of Japanese prose that ships."""
    files = sorted(path for path in catalogue.TEXTS.glob("*/*.txt") if path.stem not in NO_PROSE)
    return [text for path in files if path.parent.name != "workloads" for text in catalogue.read_documents(path)]


def rotated(dice: random.Random) -> str:
    """All prose from a random paragraph on, and what stands before it at the end."""
    paragraphs = [line for text in japanese_prose() for line in text.splitlines() if line.strip()]
    at = dice.randrange(len(paragraphs))
    return "\n".join(paragraphs[at:] + paragraphs[:at])
