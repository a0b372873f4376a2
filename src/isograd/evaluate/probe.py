"""What a student can and cannot do before it is fine-tuned, domain by domain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from isograd.common.seeding import named_random
from isograd.evaluate.answers import extract_answer
from isograd.evaluate.generate import generate_greedy
from isograd.isomers.symbolic.arithmetic import SIGNS, THRESHOLD, Arithmetic, Chain, equation_steps
from isograd.isomers.symbolic.domains import Domain, domain_names, load_domain

__all__ = ["probe_student"]

FAMILY = Arithmetic()


def probe_student(model: Any, tokenizer: Any, *, items: int = 100, seed: int = 0) -> dict[str, dict[str, float]]:
    """Probe a student that was built by the built-in recipe.

    Args:
        model: the causal LM.
        tokenizer: its tokenizer.
        items: problems for each domain and skill.
        seed: of the named generator.

    Returns:
        By domain, and ``symbols`` for the neutral form, fractions of ``items``: ``sign`` (names the sign and amount
        of one sentence), ``single step`` (one change: the right equation), ``cue`` (of those equations, those that
        carry the story's cue word on), ``task`` (two changes: the right chain *and* a right decision; the target
        task, which pretraining never shows in a domain), and for ``symbols`` the chain of 2 and of 3 steps.
    """
    table = {}
    for name in domain_names():
        domain = load_domain(name)
        rng = named_random("probe", name, seed)
        signs, singles, tasks = [], [], []
        for _ in range(items):
            cue = rng.choice(sorted(domain.cues.values()))
            one, two = (FAMILY.draw(rng, depth, rng.choice(FAMILY.labels)) for depth in (1, 2))
            story = _sentences(one, domain, rng)
            operation, amount = one.changes[0]
            sign = "+" if SIGNS[operation] > 0 else "-"
            signs.append((f"{story[1]} {cue}.\n", f"{sign} {amount} {cue}"))
            singles.append((_cued(story, cue), _equations(one, cue)[0], cue))
            tasks.append((_cued(_sentences(two, domain, rng), cue), _equations(two, cue), two))
        told = _complete(model, tokenizer, [prompt for prompt, _ in signs])
        sign_right = [text == wanted for text, (_, wanted) in zip(told, signs, strict=True)]
        told = _complete(model, tokenizer, [prompt for prompt, _, _ in singles])
        plain = [wanted.removesuffix(f" {cue}") for _, wanted, cue in singles]
        step_right = [text.startswith(wanted) for text, wanted in zip(told, plain, strict=True)]
        cue_right = [text == wanted for text, (_, wanted, _) in zip(told, singles, strict=True)]
        told = _complete(model, tokenizer, [prompt for prompt, _, _ in tasks])
        task_right = [
            text.split("\n")[:2] == wanted and extract_answer(text) == _truth(chain)
            for text, (_, wanted, chain) in zip(told, tasks, strict=True)
        ]
        table[name] = {
            "sign": _mean(sign_right),
            "single step": _mean(step_right),
            "cue": _mean(cue_right),
            "task": _mean(task_right),
        }
    table["symbols"] = _probe_symbols(model, tokenizer, items, seed)
    return table


def _probe_symbols(model: Any, tokenizer: Any, items: int, seed: int) -> dict[str, float]:
    rng = named_random("probe", "symbols", seed)
    result = {}
    for depth in (2, 3):
        chains = [FAMILY.draw(rng, depth, rng.choice(FAMILY.labels)) for _ in range(items)]
        prompts = []
        for chain in chains:
            changes = [f"{'+' if SIGNS[operation] > 0 else '-'} {amount}" for operation, amount in chain.changes]
            prompts.append(f"{' '.join([str(chain.start), *changes])}\n")
        told = _complete(model, tokenizer, prompts)
        result[f"chain of {depth}"] = _mean(
            [text.split("\n") == _equations(chain, "") for text, chain in zip(told, chains, strict=True)]
        )
    return result


def _sentences(chain: Chain, domain: Domain, rng: Any) -> tuple[str, ...]:
    return FAMILY.tell(chain, domain, rng, held_out=False, distractors=0).sentences


def _cued(sentences: Sequence[str], cue: str) -> str:
    return " ".join(f"{sentence} {cue}." for sentence in sentences) + "\n"


def _equations(chain: Chain, cue: str) -> list[str]:
    return [f"{step.text} {cue}".rstrip() for step in equation_steps(chain.start, chain.changes)]


def _truth(chain: Chain) -> str:
    return "yes" if chain.values[-1] >= THRESHOLD else "no"


def _complete(model: Any, tokenizer: Any, prompts: Sequence[str]) -> list[str]:
    return generate_greedy(model, tokenizer, prompts, max_new_tokens=48)


def _mean(values: Sequence[bool]) -> float:
    return sum(values) / len(values)
