"""The checks of one set, one by one, on sets made by hand; and that no set whatever brings them down."""

from __future__ import annotations

import random
from collections.abc import Sequence
from decimal import Decimal
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st
from isomer_strategies import isomer_sets
from mutators import sound_sets
from mutators.tools import foreign, with_graph, with_member, with_node, with_steps

from isograd.isomers import Edge, Isomer, IsomerSet, Node, NodeType, Provenance, ReasoningGraph, Span, Step
from isograd.isomers.graph import structure_hash
from isograd.isomers.symbolic.arithmetic import Chain
from isograd.isomers.symbolic.deduction import Rule, Rules
from isograd.isomers.symbolic.domains import domain_names
from isograd.isomers.symbolic.families import FAMILIES, grammar
from isograd.isomers.symbolic.generate import GENERATOR
from isograd.isomers.symbolic.telling import tell_member
from isograd.isomers.verify import Verifier, check_set
from isograd.isomers.verify.findings import Finding, Reason
from isograd.isomers.verify.values import computed, number, says

SETS = list(islice(sound_sets(), 8))


def reasons(found: Sequence[Finding]) -> list[str]:
    return [finding.reason.value for finding in found]


# Whatever comes


@given(
    one=isomer_sets(sound=True) | isomer_sets(sound=False),
    generated=st.booleans(),
    family=st.sampled_from([*FAMILIES, "other"]),
    domains=st.permutations(domain_names()),
)
def test_no_set_brings_the_checks_down(one: IsomerSet, generated: bool, family: str, domains: list[str]) -> None:
    if generated:
        members = [
            member.model_copy(update={"domain": name}) for member, name in zip(one.members, domains, strict=False)
        ]
        source = one.provenance.model_copy(update={"generator": GENERATOR})
        one = one.model_copy(update={"members": tuple(members), "family": family, "provenance": source})
    found = check_set(one)
    assert found
    assert all(finding.where and finding.detail for finding in found)


@given(data=st.data(), one=st.sampled_from(SETS))
def test_no_text_brings_the_reading_down(data: st.DataObject, one: IsomerSet) -> None:
    """Pieces of a problem cut and joined at will, with odd ones among them."""
    member = one.members[0]
    odd = ["", ".", ". ", "?", "\0", "9" * 5000, "not ", " and ", " None", "\u0663", "at least", "{n}"]
    pieces = [*odd, *member.problem.split(" "), *member.problem.split(". ")]
    problem = " ".join(data.draw(st.lists(st.sampled_from(pieces), max_size=12)))
    found = check_set(with_member(one, 0, member.model_copy(update={"problem": problem})))
    assert "text_unreadable" in reasons(found)


# Values


@pytest.mark.parametrize(
    ("value", "text", "stated"),
    [
        (True, "T", True),
        (True, "yes", True),
        (True, "True", True),
        (True, "1", False),
        (False, "F", True),
        (False, "no", True),
        (False, "", False),
        (12, "12", True),
        (12, "12.0", True),
        (12, "+12", True),
        (12, "12.5", False),
        (12, " 12", False),
        (12, "1_2", False),
        (12, "\u0661\u0662", False),
        (12, "1.2e1", False),
        (12, "", False),
        (-12, "-12", True),
        (1234567, "1,234,567", True),
        (1234567, "12,34,567", False),
        (2**64 + 1, str(2**64 + 1), True),
        (2**64 + 1, str(2**64), False),
        (10**400, "1", False),
        (0.1, "0.1", True),
        (0.1, "0.10", True),
        (0.1, "0.11", False),
        (1.0, "1", True),
        ("low", "low", True),
        ("low", "Low", False),
        ("7", "7", True),
        ("7", "7.0", False),
    ],
)
def test_what_states_a_value(value: bool | int | float | str, text: str, stated: bool) -> None:
    assert says(value, text) is stated


def test_numbers() -> None:
    texts = ("1,000", "-2.50", "1,00", "1000,000", "3.", ".5", "x", "9" * 301)
    assert [number(text) for text in texts] == [Decimal(1000), Decimal("-2.5"), *[None] * 6]


def graph_of(*nodes: tuple[str, object, str | None, Sequence[str]]) -> ReasoningGraph:
    """Nodes as (id, value, op, args), the last one the goal."""
    made = tuple(
        Node(
            id=name,
            type=NodeType.GOAL if name == nodes[-1][0] else NodeType.ENTITY,
            op=op,
            args=tuple(args),
            value=value,
        )
        for name, value, op, args in nodes
    )
    edges = tuple(
        Edge(source=source, target=name, role=f"r{place}")
        for name, _, _, args in nodes
        for place, source in enumerate(args)
    )
    return ReasoningGraph(nodes=made, edges=edges)


def test_values_are_computed_from_the_givens() -> None:
    graph = graph_of(
        ("a", 2, None, ()),
        ("b", 3, None, ()),
        ("c", None, "gain", "ab"),
        ("d", 6, "gain", "cb"),
        ("e", 9, "gain", "db"),
    )
    values, found = computed(graph)
    assert values == {"a": 2, "b": 3, "c": 5, "d": 8, "e": 11}
    assert reasons(found) == ["value_wrong", "value_wrong"]
    assert found[0].detail == "states 6, executing gives 8"


def test_an_unknown_operator_hides_no_other_one() -> None:
    graph = graph_of(
        ("a", 2, None, ()), ("b", 4, "guess", "a"), ("c", 7, "gain", "ab"), ("d", None, "guess", "c"),
        ("e", None, "gain", "ad"), ("f", 1, "gain", "ea"),
    )  # fmt: skip
    values, found = computed(graph)
    assert values == {"a": 2, "b": 4, "c": 6, "d": None, "e": None, "f": 1}
    assert [(finding.reason.value, finding.where) for finding in found] == [
        ("answer_unchecked", "graph.b"),
        ("value_wrong", "graph.c"),
        ("answer_unchecked", "graph.d"),
        ("answer_unchecked", "graph.e"),
        ("answer_unchecked", "graph.f"),
    ]


def test_a_truth_value_is_no_number() -> None:
    graph = graph_of(("a", 2, None, ()), ("b", 1, None, ()), ("c", 1, "at_least", "ab"))
    assert reasons(computed(graph)[1]) == ["value_wrong"]
    graph = graph_of(("a", 2, None, ()), ("b", 1, None, ()), ("c", True, "lose", "ab"))
    assert reasons(computed(graph)[1]) == ["value_wrong"]


@pytest.mark.parametrize(
    ("op", "first", "second"),
    [
        ("gain", 2, "x"),
        ("apply", 5, "T"),
        ("apply", "TT", "T"),
        ("after", "T", 3),
        ("ordinal", 12, 1),
        ("gain", "x" * 600, "y" * 600),
        ("gain", 1e308, 1e308),
        ("gain", 10**1200, 1),
        ("at_least", "x", 3),
    ],
)
def test_operators_that_refuse_their_arguments(op: str, first: object, second: object) -> None:
    graph = graph_of(("a", first, None, ()), ("b", second, None, ()), ("c", None, op, "ab"), ("d", None, "gain", "cb"))
    values, found = computed(graph)
    assert "d" not in values
    assert reasons(found) == ["graph_invalid"]
    assert found[0].where == "graph.c"


def test_a_graph_that_doubles_fills_no_memory() -> None:
    nodes: list[tuple[str, object, str | None, Sequence[str]]] = [("n0", "text", None, ())]
    nodes += [(f"n{i}", None, "gain", (f"n{i - 1}", f"n{i - 1}")) for i in range(1, 80)]
    assert reasons(computed(graph_of(*nodes))[1]) == ["graph_invalid"]


# Sets of foreign origin


def told(graph: ReasoningGraph, problem: str, steps: Sequence[Step], answer: str, **update: object) -> IsomerSet:
    """One member's set, spans where each line says its value last."""
    bare = Isomer(domain="a", problem=problem, steps=(), answer=answer, spans=(Span(node="goal", start=8, end=9),))
    bare = bare.model_copy(update={"spans": (Span(node=graph.goal.id, start=8, end=8 + len(answer)),)})
    return IsomerSet(
        id="x",
        family="sums",
        graph=graph,
        structure=structure_hash(graph),
        labels=(),
        members=(with_steps(bare, steps),),
        provenance=Provenance(generator="me", version=1, split="train", seed=0, index=0),
    ).model_copy(update=update)


SUM = graph_of(("a", 25, None, ()), ("b", 3, None, ()), ("c", 28, "gain", "ab"), ("g", 31, "gain", "cb"))
STEPS = [Step(text="25 + 3 = 28", node="c", value="28")]


@pytest.mark.parametrize(
    ("problem", "missing"),
    [
        ("With 25 eggs and 3 more.", []),
        ("With twenty-five eggs and three more.", []),
        ("With Twenty five eggs, on the 3rd day.", []),
        ("With 25.0 eggs, and a third.", []),
        ("With twenty eggs and 3 more.", ["25"]),
        ("With 25 eggs and 13 more.", ["3"]),
        ("With some eggs.", ["25", "3"]),
    ],
)
def test_given_numbers_are_looked_for_in_digits_and_words(problem: str, missing: list[str]) -> None:
    found = [finding for finding in check_set(told(SUM, problem, STEPS, "31")) if finding.reason is Reason.GIVEN]
    assert [finding.detail.split()[2] for finding in found] == missing


def test_a_foreign_set_passes_and_says_what_was_not_checked() -> None:
    found = check_set(told(SUM, "With 25 eggs and 3 more.", STEPS, "31"))
    assert reasons(found) == ["structure_unchecked"]
    verdict = Verifier().judge(1, told(SUM, "With 25 eggs and 3 more.", STEPS, "31"))
    assert verdict.passed
    assert verdict.findings


def test_a_foreign_answer_is_computed_where_no_value_is_stated() -> None:
    bare = graph_of(("a", 25, None, ()), ("b", 3, None, ()), ("c", None, "gain", "ab"), ("g", None, "gain", "cb"))
    assert reasons(check_set(told(bare, "25 and 3.", STEPS, "31"))) == ["structure_unchecked"]
    assert "answer_wrong" in reasons(check_set(told(bare, "25 and 3.", STEPS, "30")))
    wrong = [Step(text="25 + 3 = 27", node="c", value="27")]
    assert "step_value" in reasons(check_set(told(bare, "25 and 3.", wrong, "31")))


def test_a_span_must_lie_in_its_line() -> None:
    twice = [Step(text="25 + 3 = 28, and 31 comes next", node="c", value="28")]
    one = told(SUM, "25 and 3.", twice, "31")
    member = one.members[0]
    stray = (
        member.spans[0],
        Span(node="g", start=member.completion.index("31"), end=member.completion.index("31") + 2),
    )
    assert reasons(check_set(with_member(one, 0, member.model_copy(update={"spans": stray})))) == [
        "span",
        "structure_unchecked",
    ]


@pytest.mark.parametrize("edges", [(), (Edge(source="x", target="y", role="r"),)])
def test_a_member_s_broken_graph_is_named(edges: tuple[Edge, ...]) -> None:
    one = foreign(SETS[0], graphs=True)
    own = one.members[1].graph
    assert own is not None
    broken = one.members[1].model_copy(update={"graph": own.model_copy(update={"edges": edges})})
    found = check_set(with_member(one, 1, broken))
    assert set(reasons(found)) == {"graph_invalid"}
    assert found[0].where == f"{broken.domain}.graph"


# Sets that somebody tells consistently, and wrongly, in the generator's words


def counterfeit(family: str, problem: object, like: IsomerSet) -> IsomerSet:
    """A problem that the generator never draws, told by the generator's own means."""
    graph = FAMILIES[family].graph(problem)
    answer = str(graph.goal.value)
    members = tuple(
        tell_member(problem, grammar(family, name), random.Random(0), answer=answer, cue=None) for name in like.domains
    )
    return like.model_copy(
        update={
            "graph": graph, "structure": structure_hash(graph), "members": members, "family": family, "noisy": False,
            "labels": FAMILIES[family].labels,
            "provenance": like.provenance.model_copy(update={"options": {}, "version": 0}),
        }
    )  # fmt: skip


def test_a_counterfeit_of_a_sound_problem_passes() -> None:
    assert check_set(counterfeit("arithmetic", Chain(3, (("gain", 9),)), SETS[0])) == []
    rule = Rule(((0, True), (1, False)), (2, True))
    rules = Rules(((0, True), (1, False)), (rule, Rule(((2, True),), (3, True))), True)
    assert check_set(counterfeit("deduction", rules, SETS[0])) == []


def test_quantities_below_nothing() -> None:
    assert set(reasons(check_set(counterfeit("arithmetic", Chain(3, (("lose", 9),)), SETS[0])))) == {"text_unreadable"}


def test_premises_in_an_order_that_can_be_misheard() -> None:
    rule = Rule(((0, False), (1, True)), (2, True))
    rules = Rules(((0, False), (1, True)), (rule, Rule(((2, True),), (3, True))), True)
    assert set(reasons(check_set(counterfeit("deduction", rules, SETS[0])))) == {"text_unreadable"}


def test_one_is_not_true() -> None:
    one = next(
        item
        for item in sound_sets(["ordering"])
        if any(node.value == 1 and node.op is None for node in item.graph.nodes)
    )
    name = next(node.id for node in one.graph.nodes if node.value == 1 and node.op is None)
    assert "structure_differs" in reasons(check_set(with_node(one, name, value=True)))


def test_claims_about_distractors_and_noise() -> None:
    one = next(item for item in sound_sets() if not item.noisy)
    for update in ({"distractors": 7}, {"cue": "none" if one.members[0].cue else "set"}):
        source = one.provenance.model_copy(update={"options": {**one.provenance.options, **update}})
        assert set(reasons(check_set(one.model_copy(update={"provenance": source})))) == {"provenance"}
    # What is not claimed cannot be wrong.
    source = one.provenance.model_copy(update={"options": {}})
    assert check_set(one.model_copy(update={"provenance": source})) == []


def test_only_what_is_wrong_is_told_of_a_broken_graph() -> None:
    one = with_graph(SETS[0], SETS[0].graph.nodes, SETS[0].graph.edges[:-1])
    assert set(reasons(check_set(one))) == {"graph_invalid"}


def test_graphs_too_large_to_compare_are_refused() -> None:
    nodes: list[tuple[str, object, str | None, Sequence[str]]] = [("n0", 1, None, ())]
    nodes += [(f"n{i}", None, "guess", (f"n{i - 1}",)) for i in range(1, 20_000)]
    graph = graph_of(*nodes)
    one = SETS[0].model_copy(update={"graph": graph})
    assert reasons(Verifier().judge(1, one).rejections) == ["graph_invalid"]
    own = SETS[0].members[0].model_copy(update={"graph": graph})
    assert reasons(check_set(with_member(SETS[0], 0, own))) == ["graph_invalid"]
