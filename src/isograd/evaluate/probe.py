"""What a student can and cannot do before it is fine-tuned, by family and domain."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from isograd.common.seeding import named_random
from isograd.evaluate.answers import extract_answer
from isograd.evaluate.generate import generate_greedy
from isograd.isomers import FAMILIES, create_isomers
from isograd.isomers.symbolic.domains import domain_names
from isograd.isomers.symbolic.families import grammar
from isograd.isomers.symbolic.family import Family
from isograd.student.corpus import SYMBOLS, symbols

__all__ = ["probe_student"]


def probe_student(
    model: Any, tokenizer: Any, *, items: int = 100, seed: int = 0
) -> dict[str, dict[str, dict[str, float]]]:
    """Probe a student that was built by the built-in recipe.

    Args:
        model: the causal LM.
        tokenizer: its tokenizer.
        items: problems for each family, domain and skill.
        seed: of the named generator.

    Returns:
        By family, then by domain, fractions of ``items``: ``meaning`` (one sentence: what it says in symbols),
        ``single step`` (a story of one step and its question: the right step), ``cue`` (of those steps, those that
        carry the story's cue word on) and ``task`` (a problem of depth 2: the right chain *and* a right decision; the
        target task, which pretraining never shows in a domain). Under ``symbols`` the neutral form: chains of depth 2
        and 3.
    """
    table = {}
    for family in FAMILIES.values():
        rows = {name: _probe_domain(model, tokenizer, family, name, items, seed) for name in domain_names()}
        table[family.name] = {**rows, SYMBOLS: _probe_symbols(model, tokenizer, family, items, seed)}
    return table


def _probe_domain(
    model: Any, tokenizer: Any, family: Family[Any], domain: str, items: int, seed: int
) -> dict[str, float]:
    rng = named_random("probe", family.name, domain, seed)
    language = grammar(family.name, domain)
    meanings, steps = [], []
    for _ in range(items):
        cue = rng.choice(language.domain.cues)
        problem = family.draw(rng, 2, rng.choice(family.labels))
        cast = language.cast(family.needs(problem), 0, rng)
        number, statement = rng.choice(list(enumerate(family.statements(problem, cast))))
        meanings.append((f"{language.say(statement, rng)} {cue}.\n", family.notation(problem, cast)[number]))
        problem, part, step = family.single_step(rng)
        cast = language.cast(family.needs(problem), 0, rng)
        story = " ".join(f"{language.say(said, rng)} {cue}." for said in family.statements(problem, cast)[part])
        question = language.say(family.question(problem, cast), rng)
        steps.append((f"{story} {question}\n", family.steps(problem, cast)[step].text, cue))
    told = _complete(model, tokenizer, [prompt for prompt, _ in meanings])
    meaning_right = [_says(text, wanted) for text, (_, wanted) in zip(told, meanings, strict=True)]
    told = _complete(model, tokenizer, [prompt for prompt, _, _ in steps])
    step_right = [_says(text, wanted) for text, (_, wanted, _) in zip(told, steps, strict=True)]
    cue_right = [text == f"{wanted} {cue}" for text, (_, wanted, cue) in zip(told, steps, strict=True)]
    members = [
        s.members[0]
        for s in create_isomers(family.name, seed=seed, size=items, split="id", domains=[domain], cue="member")
    ]
    told = _complete(model, tokenizer, [member.prompt for member in members])
    task_right = [
        text.split("\n")[:-1] == [step.text for step in member.steps] and extract_answer(text) == member.answer
        for text, member in zip(told, members, strict=True)
    ]
    return {
        "meaning": _mean(meaning_right),
        "single step": _mean(step_right),
        "cue": _mean(cue_right),
        "task": _mean(task_right),
    }


def _probe_symbols(model: Any, tokenizer: Any, family: Family[Any], items: int, seed: int) -> dict[str, float]:
    rng = named_random("probe", family.name, SYMBOLS, seed)
    result = {}
    for depth in (2, 3):
        problems = [family.draw(rng, depth, rng.choice(family.labels)) for _ in range(items)]
        chains = [_symbolic(family, problem, rng) for problem in problems]
        told = _complete(model, tokenizer, [prompt for prompt, _ in chains])
        result[f"chain of depth {depth}"] = _mean(
            [text == wanted for text, (_, wanted) in zip(told, chains, strict=True)]
        )
    return result


def _symbolic(family: Family[Any], problem: Any, rng: random.Random) -> tuple[str, str]:
    cast = symbols(family, problem, rng)
    return " ; ".join(family.notation(problem, cast)) + "\n", "\n".join(s.text for s in family.steps(problem, cast))


def _complete(model: Any, tokenizer: Any, prompts: Sequence[str]) -> list[str]:
    return generate_greedy(model, tokenizer, prompts, max_new_tokens=80)


def _says(text: str, wanted: str) -> bool:
    """Whether a text is what is wanted, with or without a cue after it."""
    return text == wanted or text.startswith(f"{wanted} ")


def _mean(values: Sequence[bool]) -> float:
    return sum(values) / len(values)
