"""What a run would take, foretold without a call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from isograd.isomers.schema import ReasoningGraph
from isograd.isomers.teacher.costs import Estimate, Prices, Spending, estimate, estimate_tokens
from isograd.isomers.teacher.messages import Request
from isograd.isomers.teacher.prompts import answer_form, graph_text, render, steps_text, transposed_text
from isograd.isomers.teacher.recipe import Recipe
from isograd.isomers.teacher.replies import AbstractReply, AnswerMap, SolveReply, StepReply, TransposeReply, VerifyReply
from isograd.isomers.teacher.seeds import Seed

__all__ = ["Forecast", "foretell"]


@dataclass(frozen=True)
class Forecast:
    """Calls, tokens and price of a run.

    Attributes:
        stages: by stage, if every telling passes at once; ``abstract`` of the seeds, ``abstract again`` of tellings.
        repaired: in all, if every telling has to be repaired as often as it may.
    """

    stages: Mapping[str, Estimate]
    repaired: Estimate

    @property
    def total(self) -> Estimate:
        """In all, if every telling passes at once."""
        return sum(self.stages.values(), Estimate())


def foretell(seeds: Sequence[Seed], recipe: Recipe, prices: Prices | None = None) -> Forecast:
    """Estimate a run. The seeds' own prompts are known; what follows is reckoned as for a typical problem.

    Replies are taken to be as long as a right one without reasoning; a model that thinks aloud comes nearer to the
    most, which is every reply at its limit of tokens.

    Args:
        seeds: still to be worked on.
        recipe: what to make.
        prices: what the teacher costs.
    """
    account = Spending(prices)
    typical = _Typical()
    tellings = len(seeds) * len(recipe.domains)
    first = [render("abstract", problem=seed.text, answer=seed.answer) for seed in seeds]

    def of(request: Request, reply: str, number: int) -> Estimate:
        return estimate([request], account, estimate_tokens(reply)).times(number)

    domain, description = next(iter(recipe.domains.items()))
    form = answer_form(AnswerMap())
    transpose = render("transpose", graph=typical.graph, domain=domain, description=description, answer_form=form)
    again = render("abstract", problem=typical.problem, answer=typical.answer)
    verify = render(
        "verify",
        graph=typical.graph,
        domain=domain,
        problem=typical.problem,
        steps=typical.steps,
        answer=typical.answer,
    )
    solve = render("solve", problem=typical.problem, answer_form=form)
    repair = render(
        "repair",
        graph=typical.graph,
        domain=domain,
        description=description,
        answer_form=form,
        transposed=typical.transposed,
        issues="- " + "what is wrong and how to mend it " * 4,
    )
    checks = {
        "verify": of(verify, typical.verified, tellings),
        "abstract again": of(again, typical.abstracted, tellings),
        "solve": of(solve, typical.solved, tellings * recipe.solutions),
    }
    stages = {
        "abstract": estimate(first, account, estimate_tokens(typical.abstracted)),
        "transpose": of(transpose, typical.transposed, tellings),
        **checks,
    }
    once_more = sum(checks.values(), of(repair, typical.transposed, tellings))
    return Forecast(stages, sum(stages.values(), once_more.times(recipe.repairs)))


class _Typical:
    """A problem as long as most seeds, with the replies that belong to it."""

    def __init__(self) -> None:
        graph, reply = _example()
        self.graph, self.problem, self.answer = graph_text(graph), reply.problem, str(reply.answer)
        self.steps, self.transposed = steps_text(reply.steps), transposed_text(reply)
        self.abstracted = AbstractReply.model_validate(graph.model_dump(mode="json")).model_dump_json()
        self.solved = SolveReply(steps=tuple(step.text for step in reply.steps), answer=reply.answer).model_dump_json()
        self.verified = VerifyReply(
            dependencies_preserved=True, same_steps=True, same_chain=True, alignment_score=1.0
        ).model_dump_json()


@cache
def _example() -> tuple[ReasoningGraph, TransposeReply]:
    # The generator's problems of this depth have about as many nodes as a problem of GSM8K.
    from isograd.isomers.symbolic import create_isomers

    made = create_isomers("ordering", size=1, depth=4)[0]
    member = made.members[0]
    steps = tuple(StepReply(text=step.text, node=step.node, value=step.value) for step in member.steps)
    return made.graph, TransposeReply(problem=member.problem, steps=steps, answer=member.answer, alignment_score=1.0)
