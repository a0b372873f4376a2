"""What the built-in student is pretrained on: words everywhere, single steps everywhere, chains only as symbols.

The rule that makes the student an honest test bed: it never sees the target task in any domain. Stories with two or
more changes are never followed by reasoning, single-step stories are never followed by a decision, and chains of
several steps appear in neutral symbols alone. Every domain, unseen ones included, gets the same treatment, so that a
later difference between domains comes from fine-tuning. The decision itself (does the value reach the threshold?) is
not taught in any form, so that fine-tuning must choose what to base it on.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

from isograd.common.seeding import named_random
from isograd.isomers.symbolic.arithmetic import THRESHOLD, Arithmetic, Chain, equation_steps
from isograd.isomers.symbolic.domains import Domain, domain_names, load_domain

__all__ = ["documents", "vocabulary_text"]

FAMILY = Arithmetic()
SIGN = {"gain": "+", "lose": "-", "receive": "+", "send": "-"}


def documents(seed: int, part: int) -> Iterator[str]:
    """An endless stream of pretraining documents, each without begin and end marks.

    Args:
        seed: of the named generator.
        part: each part is a stream of its own, so that training can resume at any step.
    """
    rng = named_random("student", "pretraining", seed, part)
    kinds: list[Callable[[random.Random], str]] = [
        _sentence_meaning,
        _single_step,
        _symbolic_chain,
        _description,
        _answer_words,
    ]
    weights = (0.2, 0.35, 0.2, 0.2, 0.05)
    while True:
        yield rng.choices(kinds, weights)[0](rng)


def _chain(rng: random.Random, depth: int) -> Chain:
    return FAMILY.draw(rng, depth, rng.choice(FAMILY.labels))


def _domain(rng: random.Random) -> Domain:
    return load_domain(rng.choice(domain_names()))


def _cue(rng: random.Random, domain: Domain) -> str:
    return f" {rng.choice(sorted(domain.cues.values()))}" if rng.random() < 0.7 else ""


def _told(rng: random.Random, chain: Chain, domain: Domain) -> tuple[tuple[str, ...], str]:
    held_out = rng.random() < 1 / 6
    telling = FAMILY.tell(chain, domain, rng, held_out=held_out, distractors=0)
    return telling.sentences, telling.question


def _sentence_meaning(rng: random.Random) -> str:
    """One sentence of change, and its sign and amount."""
    chain, domain = _chain(rng, 1), _domain(rng)
    (_, change), _ = _told(rng, chain, domain)
    operation, amount = chain.changes[0]
    cue = _cue(rng, domain)
    return f"{change}{cue}.\n{SIGN[operation]} {amount}{cue}"


def _single_step(rng: random.Random) -> str:
    """A story with one change, its question sometimes, and one equation; never a decision."""
    chain, domain = _chain(rng, 1), _domain(rng)
    sentences, question = _told(rng, chain, domain)
    cue = _cue(rng, domain)
    story = " ".join(f"{sentence}{cue}." for sentence in sentences)
    if rng.random() < 0.5:
        story = f"{story} {question}"
    return f"{story}\n{equation_steps(chain.start, chain.changes)[0].text}{cue}"


def _symbolic_chain(rng: random.Random) -> str:
    """A chain of one to four steps in symbols."""
    chain = _chain(rng, rng.choice((1, 2, 2, 3, 3, 4)))
    expression = " ".join([str(chain.start), *(f"{SIGN[name]} {amount}" for name, amount in chain.changes)])
    return "\n".join([expression, *(step.text for step in equation_steps(chain.start, chain.changes))])


def _answer_words(rng: random.Random) -> str:
    """How an answer is written, with nothing to decide: the words are copied."""
    word = rng.choice(FAMILY.labels)
    return f"{word}\nAnswer: {word}"


def _description(rng: random.Random) -> str:
    """Sentences of a domain with nothing to work out after them."""
    chain, domain = _chain(rng, rng.choice((1, 2, 3))), _domain(rng)
    sentences, question = _told(rng, chain, domain)
    cue = _cue(rng, domain)
    story = " ".join(f"{sentence}{cue}." for sentence in sentences)
    return f"{story} {question}" if rng.random() < 0.5 else story


def vocabulary_text() -> Iterator[str]:
    """Every word of every domain file in every position it can take, for training the tokenizer."""
    for name in domain_names():
        domain = load_domain(name)
        for cue in domain.cues.values():
            yield f"x {cue}."
        words = domain.words[FAMILY.name]
        plain = {slot: words[slot] for slot, spec in FAMILY.slots.items() if not spec.template}
        for entries in plain.values():
            yield from (f"x {entry} {entry}." for entry in entries)
        for slot, spec in FAMILY.slots.items():
            if spec.template:
                for entry in words[slot]:
                    fillings = {key: values[0] for key, values in plain.items()}
                    sentence = entry.format(n=7, threshold=THRESHOLD, **fillings)
                    yield f"{sentence}. {sentence}."
    yield from (f"{digit} {digit} {digit}" for digit in range(10))
    yield "7 + 5 - 3\n7 + 5 = 12\nyes no\nAnswer: yes\nAnswer: no\nyes\nno"
