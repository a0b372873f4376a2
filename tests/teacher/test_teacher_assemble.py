"""A real GSM8K problem carried by hand-written replies to a sound set, and those replies spoiled in every way."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from isograd.common.errors import UserError
from isograd.isomers import Isomer, IsomerSet, load_isomers, save_isomers
from isograd.isomers.schema import ReasoningGraph
from isograd.isomers.teacher.abstraction import graph_from_reply
from isograd.isomers.teacher.assemble import member_from_reply, provenance, reply_hash, set_from_members
from isograd.isomers.teacher.judgment import Evidence, Judgment, isomorphic_after_reabstraction, judge
from isograd.isomers.teacher.replies import AbstractReply, AnswerMap, TransposeReply, VerifyReply
from isograd.isomers.teacher.seeds import Seed, read_seeds
from isograd.isomers.verify import check_set

# The first row of the sample of GSM8K (openai/grade-school-math, MIT).
ROW = {
    "question": "Coleen loved sprinkles.  At the beginning of the day, she had twelve cans of sprinkles.  After "
    "applying sprinkles to her hair, her clothing and her pets, she had 3 less than half as many cans of sprinkles as "
    "she started out with.  How many cans of sprinkles remained?",
    "answer": "Half of twelve cans of sprinkles is 12/2=<<12/2=6>>6 cans.\nThree less than half as many cans of "
    "sprinkles is 6-3=<<6-3=3>>3 cans of sprinkles.\n#### 3",
}

Reply = dict[str, Any]


def node(name: str, kind: str, op: str | None = None, args: tuple[str, ...] = (), value: object = None) -> Reply:
    return {"id": name, "type": kind, "description": name, "op": op, "args": list(args), "value": value}


def edge(source: str, target: str, role: str) -> Reply:
    return {"source": source, "target": target, "role": role}


def abstract() -> Reply:
    return {
        "nodes": [
            node("g1", "ENTITY", value=12),
            node("g2", "RELATION", value=2),
            node("s1", "PROPOSITION", "divide", ("g1", "g2"), 6),
            node("g3", "RELATION", value=3),
            node("s2", "PROPOSITION", "lose", ("s1", "g3"), 3),
            node("goal", "GOAL", "report", ("s2",), 3),
        ],
        "edges": [
            edge("g1", "s1", "dividend"),
            edge("g2", "s1", "divisor"),
            edge("s1", "s2", "quantity"),
            edge("g3", "s2", "amount"),
            edge("s2", "goal", "result"),
        ],
    }


TOLD = {
    "medicine": (
        "A ward stocks 12 vials of insulin and splits them evenly between 2 refrigerators. A nurse then gives 3 vials "
        "from the first refrigerator to patients. How many vials does the first refrigerator hold now?",
        "Splitting 12 vials between 2 refrigerators puts 12 / 2 = 6",
        "After the doses the first one holds 6 - 3 = 3",
    ),
    "law": (
        "A clerk receives 12 motions and assigns them evenly to 2 judges. Judge Alvarez denies 3 of hers before lunch. "
        "How many motions are still pending before Judge Alvarez?",
        "Each judge is assigned 12 / 2 = 6",
        "Pending before Judge Alvarez are 6 - 3 = 3",
    ),
    "science": (
        "A biologist pipettes 12 samples of pond water into 2 racks of equal size. In the left rack 3 samples "
        "evaporate overnight. How many samples remain in the left rack?",
        "One rack contains 12 / 2 = 6",
        "Evaporation leaves 6 - 3 = 3",
    ),
    "mathematics": (
        "The number 12 is divided by 2, and 3 is subtracted from the quotient. What is the difference?",
        "The quotient is 12 / 2 = 6",
        "The difference is 6 - 3 = 3",
    ),
}


def transposed(domain: str) -> Reply:
    problem, first, second = TOLD[domain]
    steps = [{"text": first, "node": "s1", "value": "6"}, {"text": second, "node": "s2", "value": 3}]
    return {"problem": problem, "choices": [], "steps": steps, "answer": 3, "alignment_score": 0.95}


VERIFIED = VerifyReply(dependencies_preserved=True, same_steps=True, same_chain=True, alignment_score=0.95)


def graph_of(reply: Reply, **options: Any) -> ReasoningGraph | list[str]:
    return graph_from_reply(AbstractReply.model_validate(reply), **options)


def sound_graph() -> ReasoningGraph:
    graph = graph_of(abstract(), gold="3")
    assert isinstance(graph, ReasoningGraph), graph
    return graph


def renamed() -> Reply:
    """The same graph as another reader writes it: other ids, and the givens first."""
    names = {"g1": "g1", "g2": "g2", "g3": "g4", "s1": "s7", "s2": "s8", "goal": "end"}
    made = abstract()
    for one in made["nodes"]:
        one["id"], one["args"] = names[one["id"]], [names[name] for name in one["args"]]
    for one in made["edges"]:
        one["source"], one["target"] = names[one["source"]], names[one["target"]]
    made["nodes"].insert(0, made["nodes"].pop(3))
    return made


@pytest.fixture
def seed(tmp_path: Path) -> Seed:
    path = tmp_path / "gsm8k_train.jsonl"
    path.write_text(json.dumps(ROW))
    ((_, seed),) = read_seeds(path)
    assert isinstance(seed, Seed)
    return seed


def member(reply: Reply, domain: str = "law", own: ReasoningGraph | None = None, **options: Any) -> Isomer | list[str]:
    return member_from_reply(domain, sound_graph(), TransposeReply.model_validate(reply), own=own, **options)


def told(seed: Seed, again: ReasoningGraph | None = None, domains: tuple[str, ...] = tuple(TOLD)) -> IsomerSet:
    members = [member(transposed(domain), domain, again) for domain in domains]
    sound = [one for one in members if isinstance(one, Isomer)]
    assert len(sound) == len(members), members
    replies: dict[str, BaseModel] = {"abstract": AbstractReply.model_validate(abstract())}
    replies |= {f"{domain}.transpose": TransposeReply.model_validate(transposed(domain)) for domain in domains}
    return set_from_members(seed, sound_graph(), sound, provenance(seed, model="by-hand", replies=replies))


def evidence(**options: Any) -> Evidence:
    again = graph_of(renamed())
    return Evidence(
        **{"self_score": 0.95, "verification": VERIFIED, "again": again, "solutions": ("3", "3"), **options}
    )


def reasons(judgment: Judgment) -> set[str]:
    return {str(finding.reason) for finding in judgment.rejections}


def test_a_real_problem_becomes_a_sound_set(seed: Seed, tmp_path: Path) -> None:
    again = graph_of(renamed())
    assert isinstance(again, ReasoningGraph)
    assert isomorphic_after_reabstraction(sound_graph(), again)
    made = told(seed, again)
    assert made.domains == tuple(TOLD)
    assert not [finding for finding in check_set(made) if finding.reason.rejects]  # type: ignore[attr-defined]
    for one in made.members:
        assert [one.completion[span.start : span.end] for span in one.spans] == ["6", "3", "3"]
        assert one.completion.endswith("\nAnswer: 3")
    judgment = judge(made, seed, dict.fromkeys(TOLD, evidence()))
    assert judgment.passed, judgment.rejections
    # What readers of files ask for besides.
    save_isomers([made], tmp_path / "sets.jsonl")
    assert list(load_isomers(tmp_path / "sets.jsonl")) == [made]


def test_where_a_set_comes_from(seed: Seed) -> None:
    source = told(seed).provenance
    assert (source.generator, source.split) == ("teacher", "train")
    options = source.options
    assert (options["model"], options["source"], options["seed_id"]) == ("by-hand", "gsm8k", seed.id)
    assert options["stages"] == dict.fromkeys(["abstract", "transpose", "verify", "solve", "repair"], 1)
    assert options["replies"]["abstract"] == reply_hash(AbstractReply.model_validate(abstract()))
    assert len(set(options["replies"].values())) == 5


def test_members_without_a_graph_of_their_own_pass_too(seed: Seed) -> None:
    made = told(seed)
    assert judge(made, seed, dict.fromkeys(TOLD, evidence())).passed


def changed(reply: Reply, *path: Any, to: object) -> Reply:
    inner: Any = reply
    for key in path[:-1]:
        inner = inner[key]
    if to is None and path[-1] != "value":
        del inner[path[-1]]
    else:
        inner[path[-1]] = to
    return reply


def added(reply: Reply, where: str, *items: Reply) -> Reply:
    reply[where] += items
    return reply


def cyclic(reply: Reply) -> Reply:
    changed(reply, "nodes", 2, "args", to=["g1", "s2"])
    return changed(reply, "edges", 1, to=edge("s2", "s1", "divisor"))


def replaced(reply: Reply, number: int, to: Reply) -> Reply:
    return changed(reply, "nodes", number, to=to)


def valued(reply: Reply, values: dict[int, object]) -> Reply:
    for number, value in values.items():
        changed(reply, "nodes", number, "value", to=value)
    return reply


def silent(reply: Reply) -> Reply:
    replaced(reply, 5, node("goal", "GOAL", "infer", ("s2",)))
    return changed(reply, "edges", 4, "role", to="premise")


def swapped(reply: Reply) -> Reply:
    reply["nodes"][2], reply["nodes"][4] = reply["nodes"][4], reply["nodes"][2]
    return reply


GRAPHS: dict[str, tuple[Callable[[Reply], Reply], str]] = {
    "a given changed": (lambda r: changed(r, "nodes", 0, "value", to=14), "states 6, executing 'divide' gives 7"),
    "a result changed": (lambda r: changed(r, "nodes", 2, "value", to=7), "states 7, executing 'divide' gives 6"),
    "a number as a text": (lambda r: changed(r, "nodes", 0, "value", to="12"), "cannot be executed: '12' is no number"),
    "another answer": (
        lambda r: valued(r, {3: 2, 4: 4, 5: 4}),
        "the GOAL 'goal' is 4, the problem's answer '3'",
    ),
    "an edge dropped": (
        lambda r: changed(r, "edges", 1, to=None),
        "edge 'g2' -> 's1' in the role 'divisor' is missing",
    ),
    "an edge in another role": (lambda r: changed(r, "edges", 3, "role", to="quantity"), "role 'amount' is missing"),
    "an edge reversed": (lambda r: changed(r, "edges", 0, to=edge("s1", "g1", "dividend")), "is of no argument"),
    "an edge too many": (lambda r: added(r, "edges", edge("g1", "s2", "amount")), "is of no argument in its role"),
    "an edge from nowhere": (lambda r: added(r, "edges", edge("g9", "s2", "amount")), "names an unknown node"),
    "two goals": (lambda r: changed(r, "nodes", 4, "type", to="GOAL"), "2 GOAL nodes, there must be exactly one"),
    "no goal": (lambda r: changed(r, "nodes", 5, "type", to="PROPOSITION"), "0 GOAL nodes"),
    "a goal that is given": (lambda r: replaced(r, 5, node("goal", "GOAL", value=3)), "must be derived"),
    "a goal without its answer": (silent, "has no value; it is the answer"),
    "a cycle": (cyclic, "cycle"),
    "steps swapped": (swapped, "is listed before"),
    "an unknown argument": (lambda r: changed(r, "nodes", 4, "args", to=["s1", "g9"]), "takes 'g9', which is no node"),
    "too many arguments": (lambda r: changed(r, "nodes", 4, "args", to=["s1", "g3", "g1"]), "not 3 arguments"),
    "no arguments": (lambda r: changed(r, "nodes", 4, "args", to=[]), "from nothing"),
    "arguments of a given": (lambda r: changed(r, "nodes", 1, "args", to=["g1"]), "has arguments but no operator"),
    "a derived entity": (lambda r: changed(r, "nodes", 2, "type", to="ENTITY"), "must be PROPOSITION"),
    "a given of the wrong type": (lambda r: changed(r, "nodes", 1, "type", to="ENTITY"), "it must be RELATION"),
    "an id twice": (lambda r: changed(r, "nodes", 1, "id", to="g1"), "'g1' is used 2 times"),
    "an idle node": (lambda r: added(r, "nodes", node("g4", "ENTITY", value=9)), "does not reach the goal"),
    "division by zero": (lambda r: changed(r, "nodes", 1, "value", to=0), "cannot be executed"),
    "an operator with blanks": (lambda r: changed(r, "nodes", 2, "op", to="Divide by"), "small letters"),
    "a monstrous number": (lambda r: changed(r, "nodes", 0, "value", to=10**400), "too large"),
}  # fmt: skip


@pytest.mark.parametrize("name", GRAPHS)
def test_spoiled_graphs_are_refused_with_the_reason(name: str) -> None:
    spoil, reason = GRAPHS[name]
    found = graph_of(spoil(abstract()), gold="3")
    assert isinstance(found, list)
    assert any(reason in line for line in found), found
    assert all("\n" not in line for line in found)


def test_values_that_are_left_out_are_filled_in() -> None:
    reply = abstract()
    for number in (2, 4, 5):
        changed(reply, "nodes", number, "value", to=None)
    assert graph_of(reply, gold="3") == sound_graph()


def test_tenths_are_tenths_and_operators_of_ones_own_are_taken() -> None:
    reply = {
        "nodes": [
            *(node("a", "ENTITY", value=0.1), node("b", "ENTITY", value=0.2)),
            node("s", "PROPOSITION", "total", ("a", "b"), 0.3),
            node("t", "PROPOSITION", "weigh_up", ("s",)),
            node("goal", "GOAL", "choose", ("t",), "B) the cow"),
        ],
        "edges": [
            *(edge("a", "s", "part"), edge("b", "s", "part"), edge("s", "t", "whatever"), edge("t", "goal", "evidence"))
        ],
    }
    assert "not 1 arguments" in graph_of(reply)[0]  # type: ignore[index]
    reply["nodes"].insert(0, node("o", "CONSTRAINT", value="B"))
    reply["nodes"][-1]["args"] = ["t", "o"]
    reply["edges"].append(edge("o", "goal", "option"))
    graph = graph_of(reply, answers=AnswerMap.of("B", ("the hen", "the cow")), gold="B")
    assert isinstance(graph, ReasoningGraph), graph
    assert graph.goal.value == "B"


STEP = ("steps", 1)
TELLINGS: dict[str, tuple[Callable[[Reply], Reply], str]] = {
    "a wrong answer": (lambda r: changed(r, "answer", to="4"), "the answer is '4', the GOAL's value 3"),
    "a step dropped": (lambda r: changed(r, *STEP, to=None), "there are 1 steps, the graph has 2: s1, s2"),
    "steps swapped": (lambda r: changed(r, "steps", to=r["steps"][::-1]), "the steps derive s2, s1, the graph s1, s2"),
    "another node": (lambda r: changed(r, *STEP, "node", to="g3"), "the steps derive s1, g3"),
    "another value": (lambda r: changed(r, *STEP, "value", to="6"), "step 's2' states '6', the graph has 3"),
    "a value unsaid": (lambda r: changed(r, *STEP, "text", to="some are left"), "does not say its value '3'"),
    "a value within another": (lambda r: changed(r, *STEP, "text", to="13 or 3.5, -3 or 3,000"), "does not say"),
    "two lines": (lambda r: changed(r, *STEP, "text", to="so\n3"), "more than one line"),
    "two answers": (lambda r: changed(r, *STEP, "text", to="Answer: 3"), "begins with 'Answer:'"),
    "choices from nowhere": (lambda r: changed(r, "choices", to=["x", "y"]), "has 2 choices, the original 0"),
}  # fmt: skip


@pytest.mark.parametrize("name", TELLINGS)
def test_spoiled_tellings_are_refused_with_the_reason(name: str) -> None:
    spoil, reason = TELLINGS[name]
    found = member(spoil(transposed("law")))
    assert isinstance(found, list)
    assert any(reason in line for line in found), found


@pytest.mark.parametrize(
    ("text", "start"), [("3 = 3", 4), ("(3)", 1), ("is 3.", 3), ("6-3", 2), ("3, that is", 0), ("-3 or 3", 6)]
)
def test_where_a_value_is_said(text: str, start: int) -> None:
    found = member(changed(transposed("law"), *STEP, "text", to=text))
    assert isinstance(found, Isomer)
    assert found.spans[1].start - len(found.steps[0].text) - 1 == start


def test_choices_are_listed_below_the_problem(seed: Seed) -> None:
    answers = AnswerMap.of("A", ("x", "y"))
    reply = abstract()
    reply["nodes"].insert(0, node("o", "CONSTRAINT", value="A"))
    reply["nodes"][-1] = node("goal", "GOAL", "choose", ("s2", "o"), "A")
    reply["edges"][-1:] = [edge("s2", "goal", "evidence"), edge("o", "goal", "option")]
    graph = graph_of(reply, answers=answers, gold="A")
    assert isinstance(graph, ReasoningGraph), graph
    made = member_from_reply(
        "law",
        graph,
        TransposeReply.model_validate(
            {**transposed("law"), "choices": ["three\nmotions", "none"], "answer": "A) three"}
        ),
        answers,
    )
    assert isinstance(made, Isomer)
    assert made.problem.endswith("Alvarez?\nA) three motions\nB) none")
    assert made.answer == "A"


def other_graph() -> ReasoningGraph:
    """What a reader finds who sees that the problem subtracts first."""
    reply = abstract()
    reply["nodes"] = [
        *(node("g1", "ENTITY", value=12), node("g3", "RELATION", value=6)),
        node("s1", "PROPOSITION", "lose", ("g1", "g3"), 6),
        node("g2", "RELATION", value=2),
        node("s2", "PROPOSITION", "divide", ("s1", "g2"), 3),
        node("goal", "GOAL", "report", ("s2",), 3),
    ]
    reply["edges"] = [
        *(edge("g1", "s1", "quantity"), edge("g3", "s1", "amount"), edge("s1", "s2", "dividend")),
        *(edge("g2", "s2", "divisor"), edge("s2", "goal", "result")),
    ]
    # s1 is first used as a quantity by `lose`, so the givens' types are as above.
    graph = graph_of(reply, gold="3")
    assert isinstance(graph, ReasoningGraph), graph
    return graph


def doubtful(**options: Any) -> VerifyReply:
    return VERIFIED.model_copy(update={"issues": ("step 2 is lost",), **options})


JUDGED: dict[str, tuple[dict[str, Any], set[str]]] = {
    "nothing but a good score": ({"again": None, "solutions": (), "self_score": 1.0}, {"no_independent_check"}),
    "a good score and a wrong structure": (
        {"again": None, "self_score": 0.9, "_other": True},
        {"reabstraction_differs"},
    ),
    "no graph": ({"again": ["2 GOAL nodes"]}, {"reabstraction_invalid"}),
    "solvers of another mind": ({"solutions": ("4", "3", "5")}, {"solvers_disagree"}),
    "a tie": ({"solutions": ("3", "unsolvable")}, {"solvers_disagree"}),
    "re-abstraction alone": ({"solutions": ()}, set()),
    "solvers alone": ({"again": None}, set()),
    "a low score of its own": ({"self_score": 0.84}, {"score_low"}),
    "a score at the threshold": ({"self_score": 0.85}, set()),
    "a low score by the verifier": ({"verification": doubtful(alignment_score=0.5)}, {"score_low"}),
    "dependencies": ({"verification": doubtful(dependencies_preserved=False)}, {"dependencies_lost"}),
    "steps": ({"verification": doubtful(same_steps=False)}, {"steps_differ"}),
    "chain": ({"verification": doubtful(same_chain=False)}, {"chain_differs"}),
    "no verification": ({"verification": None}, {"not_compared"}),
}


@pytest.mark.parametrize("name", JUDGED)
def test_the_judgment_names_its_reasons(name: str, seed: Seed) -> None:
    options, wanted = JUDGED[name]
    if "_other" in options:
        options = {**{key: value for key, value in options.items() if key != "_other"}, "again": other_graph()}
    known = {**dict.fromkeys(TOLD, evidence()), "law": evidence(**options)}
    judgment = judge(told(seed), seed, known)
    assert reasons(judgment) == wanted
    assert judgment.passed == (not wanted)
    assert bool(judgment.issues("law")) == bool(wanted)
    assert judgment.issues("medicine") == []


def test_what_the_set_itself_betrays(seed: Seed) -> None:
    made, known = told(seed), dict.fromkeys(TOLD, evidence())
    first = made.members[0]

    def found(**changes: Any) -> set[str]:
        return reasons(judge(made.model_copy(update=changes), seed, known))

    assert found(members=(first.model_copy(update={"answer": "4"}), *made.members[1:])) >= {
        "answer_wrong",
        "answers_differ",
    }
    alike = made.members[1].model_copy(update={"problem": first.problem})
    assert found(members=(first, alike, *made.members[2:])) == {"overlap"}
    assert found(members=(first.model_copy(update={"problem": "How many of 12 vials?"}), *made.members[1:])) == {
        "given_missing"
    }
    assert found(structure="0" * 24) == {"structure_hash"}
    nodes = list(made.graph.nodes)
    nodes[0] = nodes[0].model_copy(update={"value": 14})
    spoiled = ReasoningGraph(nodes=tuple(nodes), edges=made.graph.edges)
    assert "execution_differs" in found(graph=spoiled)
    assert reasons(judge(made, Seed("x", "gsm8k", "train", "p", "4"), known)) == {"gold_differs"}
    assert reasons(judge(made, seed, {})) == {"score_low", "not_compared", "no_independent_check"}


def test_what_nobody_can_execute_needs_solvers(seed: Seed) -> None:
    made = told(seed)
    free = [one.model_copy(update={"op": "ponder"}) if one.id == "s1" else one for one in made.graph.nodes]
    graph = ReasoningGraph(nodes=tuple(free), edges=made.graph.edges)
    made = set_from_members(seed, graph, made.members, made.provenance)
    assert reasons(judge(made, seed, dict.fromkeys(TOLD, evidence(again=graph, solutions=())))) == {"solutions_needed"}
    assert judge(made, seed, dict.fromkeys(TOLD, evidence(again=graph))).passed


def test_one_member_can_be_judged_before_the_others(seed: Seed) -> None:
    assert judge(told(seed, domains=("law",)), seed, {"law": evidence()}).passed


def test_sets_that_cannot_be(seed: Seed) -> None:
    made = told(seed)
    for members in ((), (made.members[0], made.members[0])):
        with pytest.raises(UserError, match="a set needs members of different domains"):
            set_from_members(seed, made.graph, members, made.provenance)
