"""Names of methods, one line for every mistake, and where tuning looks."""

from __future__ import annotations

import dataclasses
import inspect
import itertools
import math
import random as stdlib_random
import re

import pytest

from isograd.common.errors import UserError
from isograd.gradients import METHODS, Choice, Iga, LogUniform, Method, Uniform, make_method

KINDS = {
    "loss": ["erm", "irm", "vrex", "group_dro", "fishr"],
    "inner": ["fish"],
    "local": ["and_mask", "sand_mask", "iga"],
    "global": ["pcgrad", "mgda", "cagrad", "torchjd"],
}


def made(name: str) -> Method:
    try:
        return make_method(name)
    except UserError as error:
        if name == "torchjd":
            pytest.skip(str(error))
        raise


class TestMaking:
    def test_every_kind_has_its_methods(self) -> None:
        assert {kind: [name for name in METHODS if METHODS[name].kind == kind] for kind in KINDS} == KINDS
        assert sorted(METHODS) == sorted(name for names in KINDS.values() for name in names)

    @pytest.mark.parametrize("name", METHODS)
    def test_every_method_has_defaults_and_keeps_them(self, name: str) -> None:
        method = made(name)
        assert type(method) is METHODS[name]
        values = {field.name: getattr(method, field.name) for field in dataclasses.fields(method)}
        assert make_method(name, **values) == method
        assert method.at(10**6, 10**6) == method
        for field in values:
            with pytest.raises(dataclasses.FrozenInstanceError):
                setattr(method, field, 0)

    def test_parameters(self) -> None:
        assert make_method("iga", tau=2.0, basis="singular") == Iga(tau=2.0, basis="singular")

    @pytest.mark.parametrize("name", [None, 5, 1.5, True, ["iga"], {"iga": 1}, ("iga",), b"iga"])
    def test_a_name_that_is_no_word(self, name: object) -> None:
        with pytest.raises(UserError) as caught:
            make_method(name)  # type: ignore[arg-type]
        assert str(caught.value).startswith(f"unknown method {name!r}; ")
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", METHODS)
class TestEveryDocstring:
    def test_equation_shapes_reference_scale_and_what_is_ours(self, name: str) -> None:
        text = inspect.getdoc(METHODS[name]) or ""
        assert re.search(r"::\n\n    \S.*\n", text), "an equation, set apart"
        letters = r"\[[A-Za-z]+( [A-Za-z]+)*\]"
        assert re.search(rf"Shapes: [^:]*{letters}", text) or re.search(rf"of the effective weight W, {letters}", text)
        assert re.search(r"arXiv \d{4}\.\d{4,5}", text)
        assert re.search(r"\bscale\s+(of\s+the\s+direction\s+)?(D\s+has|is)\b", text), "the scale of what it returns"
        assert "OURS" in text

    def test_parameters_and_the_source_of_every_default(self, name: str) -> None:
        text = inspect.getdoc(METHODS[name]) or ""
        section = re.search(r"\nAttributes:\n(.*?)(\n\n|\Z)", text, re.DOTALL)
        said = re.split(r"^    (?=\w+: )", section[1] if section else "", flags=re.MULTILINE)[1:]
        paragraphs = {one.split(":")[0]: " ".join(one.split()) for one in said}
        fields = {field.name: field for field in dataclasses.fields(METHODS[name])}
        assert set(paragraphs) == set(fields)
        for key, field in fields.items():
            default = field.default if field.default is not dataclasses.MISSING else field.default_factory()  # type: ignore[misc]
            value = f'"{default}"' if isinstance(default, str) else repr(default)
            assert f" Default {value}: " in paragraphs[key]
            source = paragraphs[key].split(f" Default {value}: ")[1]
            assert re.search(r"\b(ours|DomainBed|paper|authors|arXiv|torchjd)\b", source)

    def test_what_can_be_raised(self, name: str) -> None:
        assert ("Raises:" in (METHODS[name].__doc__ or "")) == bool(dataclasses.fields(METHODS[name]))


NUMBER = "use a finite number >= 0"
COUNT = "use an integer >= 0"
SPACES = "use one of 'weight', 'factor'"
NORMALIZATIONS = "use one of 'mean_square', 'mean_squared', 'layer_mean', 'none'"
FACTOR = "use space 'weight', or projection 'chain_rule' and basis 'entry'"
TRUNCATED = "iga: projection 'retraction' and basis 'singular' need a truncated SVD; use svd 'randomized' or 'exact'"


@pytest.mark.parametrize(
    ("name", "params", "message"),
    [
        ("igs", {}, "unknown method 'igs'; did you mean 'iga'?"),
        ("zzzzz", {}, f"unknown method 'zzzzz'; there are: {', '.join(sorted(METHODS))}"),
        ("iga", {"tua": 1.0}, "method 'iga' has no parameter 'tua'; did you mean 'tau'?"),
        ("erm", {"tau": 1.0}, "method 'erm' has no parameter 'tau'; there are: balance"),
        ("pcgrad", {"tau": 1.0}, "method 'pcgrad' has no parameter 'tau'; there are: none"),
        ("irm", {"search": {}}, "method 'irm' has no parameter 'search'; there are: start, weight"),
        ("erm", {"balance": "row"}, "erm: balance is 'row'; use one of 'domain', 'token'"),
        ("irm", {"weight": -1}, f"irm: weight is -1; {NUMBER}"),
        ("irm", {"start": 1.5}, f"irm: start is 1.5; {COUNT}"),
        ("vrex", {"weight": math.inf}, f"vrex: weight is inf; {NUMBER}"),
        ("vrex", {"start": -1}, f"vrex: start is -1; {COUNT}"),
        ("group_dro", {"eta": math.nan}, f"group_dro: eta is nan; {NUMBER}"),
        ("fishr", {"weight": None}, f"fishr: weight is None; {NUMBER}"),
        ("fishr", {"start": True}, f"fishr: start is True; {COUNT}"),
        ("fish", {"step_size": 0}, "fish: step_size is 0; use a finite number > 0"),
        ("fish", {"step_size": -1.0}, f"fish: step_size is -1.0; {NUMBER}"),
        ("and_mask", {"tau": 1.1}, "and_mask: tau is 1.1; use a number in [0, 1]"),
        ("and_mask", {"space": "w"}, f"and_mask: space is 'w'; {SPACES}"),
        ("and_mask", {"rescale": "no"}, "and_mask: rescale is 'no'; use true or false"),
        ("sand_mask", {"tau": 1}, "sand_mask: tau is 1; use a number in [0, 1)"),
        ("sand_mask", {"k": 0.0}, "sand_mask: k is 0.0; use a finite number > 0"),
        ("sand_mask", {"relative": 1}, "sand_mask: relative is 1; use true or false"),
        ("sand_mask", {"space": ""}, f"sand_mask: space is ''; {SPACES}"),
        ("mgda", {"normalize": "l2"}, "mgda: normalize is 'l2'; use one of 'none', 'length'"),
        ("cagrad", {"c": "0.5"}, f"cagrad: c is '0.5'; {NUMBER}"),
        ("iga", {"tau": -1.0}, f"iga: tau is -1.0; {NUMBER}"),
        ("iga", {"tau": math.nan}, f"iga: tau is nan; {NUMBER}"),
        ("iga", {"tau": "big"}, f"iga: tau is 'big'; {NUMBER}"),
        ("iga", {"tau": True}, f"iga: tau is True; {NUMBER}"),
        ("iga", {"tau_start": -1}, f"iga: tau_start is -1; {COUNT}"),
        ("iga", {"tau_ramp": 0.5}, f"iga: tau_ramp is 0.5; {COUNT}"),
        ("iga", {"space": "rows"}, f"iga: space is 'rows'; {SPACES}"),
        ("iga", {"variance": "sets"}, "iga: variance is 'sets'; use one of 'batch', 'set', 'running'"),
        ("iga", {"decay": 1.0}, "iga: decay is 1.0; use a number in [0, 1)"),
        ("iga", {"normalization": "std"}, f"iga: normalization is 'std'; {NORMALIZATIONS}"),
        ("iga", {"basis": "svd"}, "iga: basis is 'svd'; use one of 'entry', 'singular', 'input'"),
        (
            "iga",
            {"projection": "none"},
            "iga: projection is 'none'; use one of 'chain_rule', 'tangent', 'retraction'",
        ),
        ("iga", {"svd": "lapack"}, "iga: svd is 'lapack'; use one of 'randomized', 'exact', 'none'"),
        ("iga", {"rank": 0}, "iga: rank is 0; use an integer >= 1"),
        ("iga", {"oversample": -1}, f"iga: oversample is -1; {COUNT}"),
        ("iga", {"power_iterations": 1.5}, f"iga: power_iterations is 1.5; {COUNT}"),
        ("iga", {"second_moment": "both"}, "iga: second_moment is 'both'; use one of 'masked', 'raw'"),
        ("iga", {"shuffled": "false"}, "iga: shuffled is 'false'; use true or false"),
        *(
            (
                "iga",
                {"space": "factor", **other},
                f"iga: space 'factor' has no direction of W for projection {other.get('projection', 'chain_rule')!r} "
                f"or basis {other.get('basis', 'entry')!r}; {FACTOR}",
            )
            for other in ({"projection": "tangent"}, {"projection": "retraction"}, {"basis": "singular"})
        ),
        ("iga", {"svd": "none", "projection": "retraction"}, TRUNCATED),
        ("iga", {"svd": "none", "basis": "singular"}, TRUNCATED),
        (
            "iga",
            {"basis": "singular", "variance": "running"},
            "iga: singular directions change from step to step and have no running variance; use variance 'batch' "
            "or 'set', or basis 'entry'",
        ),
        (
            "iga",
            {"projection": "retraction", "second_moment": "raw"},
            "iga: projection 'retraction' steps without Adam; use second_moment 'masked'",
        ),
        *(
            (
                "iga",
                {"space": "factor", key: value},
                f"iga: {key} is {value!r}, but does nothing with space 'factor'; leave {key} out",
            )
            for key, value in (
                ("svd", "exact"),
                ("svd", "none"),
                ("rank", 3),
                ("oversample", 4),
                ("power_iterations", 2),
            )
        ),
        *(
            (
                "iga",
                {key: value, param: 0.5},
                f"iga: {param} is 0.5, but does nothing with {key} {value!r}; leave {param} out",
            )
            for key, value, param in (
                ("variance", "batch", "decay"),
                ("variance", "set", "decay"),
                ("basis", "entry", "damping"),
                ("basis", "singular", "damping"),
            )
        ),
        *(
            ("iga", {"svd": svd, key: 3}, f"iga: {key} is 3, but does nothing with svd {svd!r}; leave {key} out")
            for svd, key in itertools.product(("exact", "none"), ("oversample", "power_iterations"))
        ),
        ("iga", {"svd": "none", "rank": 2}, "iga: rank is 2, but does nothing with svd 'none'; leave rank out"),
    ],
)
def test_mistakes(name: str, params: dict[str, object], message: str) -> None:
    with pytest.raises(UserError) as caught:
        make_method(name, **params)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    "params",
    [
        {"rank": 3, "oversample": 4, "power_iterations": 2},
        {"rank": 3, "svd": "exact"},
        {"variance": "running", "decay": 0.5, "space": "factor"},
        {"basis": "input", "damping": 0.1, "svd": "none"},
        {"basis": "singular", "rank": 2, "oversample": 4},
        # Defaults may be spelled out, as the files of a run do.
        {"space": "factor", "svd": "randomized", "rank": None, "oversample": 8, "decay": 0.9, "damping": 1e-3},
    ],
    ids=str,
)
def test_parameters_that_act_are_taken(params: dict[str, object]) -> None:
    method = make_method("iga", **params)
    assert {key: getattr(method, key) for key in params} == params
    assert method.at(0, 10) == method


class TestSearch:
    @pytest.mark.parametrize("name", METHODS)
    def test_every_draw_is_accepted(self, name: str) -> None:
        method, rng = METHODS[name], stdlib_random.Random(0)
        fields = {field.name for field in dataclasses.fields(method)}
        assert set(method.search) <= fields
        for _ in range(100):
            params = {key: where.draw(rng) for key, where in method.search.items()}
            if params:
                make_method(name, **params)  # a parameter that would do nothing is refused, too

    @pytest.mark.parametrize("name", METHODS)
    def test_every_number_worth_tuning_says_where(self, name: str) -> None:
        method = METHODS[name]
        numeric = [field.name for field in dataclasses.fields(method) if isinstance(field.default, int | float)]
        assert not [key for key in numeric if not isinstance(getattr(method, key), bool)] or method.search

    @pytest.mark.parametrize("name", METHODS)
    def test_the_default_lies_within(self, name: str) -> None:
        for key, where in METHODS[name].search.items():
            default = getattr(METHODS[name], key)
            assert default in where.values if isinstance(where, Choice) else where.low <= default <= where.high

    def test_distributions(self) -> None:
        rng = stdlib_random.Random(0)
        assert all(2 <= Uniform(2, 3).draw(rng) <= 3 for _ in range(100))
        draws = sorted(LogUniform(1e-4, 1e4).draw(rng) for _ in range(400))
        assert 1e-4 <= draws[0] < 1e-3
        assert 1e3 < draws[-1] <= 1e4
        assert 1e-1 < draws[200] < 1e1  # half of the draws lie below the geometric mean
        assert {Choice(("a", "b")).draw(rng) for _ in range(50)} == {"a", "b"}
