"""The command line end to end, as a user types it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from isograd.isomers import FAMILIES, create_isomers, load_isomers, save_isomers


def isograd(*arguments: str | Path, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "COLUMNS": "200", "NO_COLOR": "1"}
    return subprocess.run(
        [sys.executable, "-m", "isograd", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=folder,
        env=environment,
        timeout=250,
    )


def loaded_modules(code: str) -> set[str]:
    program = f"import sys\n{code}\nprint(*(name for name in sys.modules if '.' not in name))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_and_helping_load_no_heavy_library() -> None:
    heavy = {"torch", "transformers", "trl", "peft", "datasets", "numpy", "networkx", "matplotlib"}
    assert not heavy & loaded_modules("import isograd")
    helping = "from isograd.cli.app import app\ntry:\n    app(['--help'], prog_name='isograd')\nexcept SystemExit: pass"
    assert not heavy & loaded_modules(helping)
    assert "networkx" in loaded_modules("import isograd; isograd.create_isomers")
    assert "torch" not in loaded_modules("import isograd; isograd.create_isomers(size=1)[0]")


def test_help_is_quick() -> None:
    seconds = []
    for _ in range(3):
        # Of processor time: how busy the machine is, is not the command's doing.
        before = os.times()
        done = isograd("--help")
        after = os.times()
        seconds.append(after.children_user + after.children_system - before.children_user - before.children_system)
        assert done.returncode == 0
    for command in ("isomers", "student", "distill", "evaluate", "report", "demo", "compare", "tune"):
        assert command in done.stdout
    # Generous: the aim is half a second, a slow machine may take longer, loading torch takes several.
    assert min(seconds) < 1.5


def test_make_and_show(tmp_path: Path) -> None:
    file = tmp_path / "isomers.jsonl"
    done = isograd("isomers", "make", "--output", file, "--size", "4", "--cue", "member", "--seed", "5")
    assert done.returncode == 0, done.stderr
    assert "4 sets of 4 domains (law, mathematics, medicine, science)" in done.stdout
    assert load_isomers(file) == create_isomers(seed=5, size=4, cue="member")[:]
    shown = isograd("isomers", "show", file, "--index", "2")
    assert shown.returncode == 0
    isomer_set = load_isomers(file)[2]
    assert isomer_set.id in shown.stdout
    for member in isomer_set.members:
        assert member.domain in shown.stdout
        assert member.steps[0].text.split(" = ")[0] in shown.stdout
    again = tmp_path / "again.jsonl"
    isograd("isomers", "make", "--output", again, "--size", "4", "--cue", "member", "--seed", "5")
    assert again.read_bytes() == file.read_bytes()


def test_text_in_a_file_is_no_markup(tmp_path: Path) -> None:
    isomer_set = create_isomers(size=1)[0]
    member = isomer_set.members[0].model_copy(update={"problem": "[red]x[/red] [/oops]"})
    save_isomers([isomer_set.model_copy(update={"members": (member,)})], tmp_path / "x.jsonl")
    done = isograd("isomers", "show", tmp_path / "x.jsonl")
    assert done.returncode == 0, done.stderr
    assert "[red]x[/red] [/oops]" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("isomers", "make", "-o", "x.jsonl", "--split", "tets"), "unknown split 'tets'"),
        (("isomers", "make", "-o", "x.jsonl", "--domains", "law,cookery"), "unknown domain 'cookery'"),
        (("isomers", "make", "-o", "x.jsonl", "--noise", "1.5"), "noise is 1.5"),
        (("isomers", "show", "none.jsonl"), "none.jsonl: no such file"),
        (("isomers", "show", "broken.jsonl"), "broken.jsonl:1"),
        (("distill", "none.yaml", "-o", "run"), "none.yaml: No such file"),
        (("distill", "bad.yaml", "-o", "run"), "bad.yaml: data:"),
        (("distill", "bad.yaml", "-o", "run", "--set", "seed"), "write it as key=value"),
        (("evaluate", "none", "--data", "id=none.jsonl"), "--data 'id=none.jsonl'"),
        (("evaluate", "none"), "nothing to measure"),
        (("evaluate", "none", "--tasks", "gsm9k"), "unknown task 'gsm9k'; did you mean gsm8k"),
        (("report", "none"), "run.json: no such file"),
        (("report", "none", "--threshold", "80"), "threshold is 80.0; it must be a mean reward from 0 to 1"),
        (("demo", "--seeds", "0"), "must be at least 1"),
        (("compare", "none.yaml"), "none.yaml: No such file"),
        (("compare", "bad.yaml"), "bad.yaml: data: no such field"),
        (("tune", "bad.yaml"), "bad.yaml: data: no such field"),
    ],
)
def test_a_mistake_is_one_line(tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    (tmp_path / "broken.jsonl").write_text('{"id": "x"\n')
    (tmp_path / "bad.yaml").write_text("data: []\n")
    done = isograd(*arguments, folder=tmp_path)
    assert done.returncode == 2, done.stdout + done.stderr
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert len(lines) == 1
    assert lines[0].startswith("isograd: error: ")
    assert message in lines[0]


@pytest.mark.slow
def test_from_isomers_to_a_report(tmp_path: Path) -> None:
    for split, size in (("train", 16), ("id", 4), ("cue_reversed", 4)):
        isograd(
            *("isomers", "make", "-o", f"{split}.jsonl", "--split", split, "--size", str(size), "--cue", "member"),
            folder=tmp_path,
        )
    (tmp_path / "erm.yaml").write_text(
        "data: [{path: train.jsonl}]\ntraining: {per_device_train_batch_size: 16, save_strategy: 'no'}\n"
    )
    done = isograd("distill", "erm.yaml", "-o", "iga", "--method", "iga", "--steps", "2", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "iga: finished" in done.stdout
    data = ("--data", "id=id.jsonl", "--data", "cue_reversed=cue_reversed.jsonl")
    done = isograd("evaluate", "iga", *data, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "cue_reversed" in done.stdout
    metrics = json.loads((tmp_path / "iga" / "metrics.json").read_text())
    assert metrics["splits"]["id"]["n"] == 16
    done = isograd("report", "iga", "-o", "page.html", "--picture", "p.png", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "page.html").read_text()
    assert "cue reversed" in page
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.long
def test_build_and_show_a_student(tmp_path: Path) -> None:
    done = isograd("student", "build", "-o", tmp_path / "student", "--steps", "2")
    assert done.returncode == 0, done.stderr
    shown = isograd("student", "show", "--model", tmp_path / "student", "--items", "2")
    assert shown.returncode == 0, shown.stderr
    for family in FAMILIES:
        assert f"{family} before fine-tuning: fraction right of 2" in shown.stdout
    assert shown.stdout.count("navigation") == len(FAMILIES)
    builtin = isograd("student", "path")
    assert (Path(builtin.stdout.strip()) / "model.safetensors").stat().st_size < 6 * 2**20
