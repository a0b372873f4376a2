"""Domain files whose cue words are those of law: ``python docs/results/rivals/same_words.py`` writes build/words/."""

from __future__ import annotations

from pathlib import Path

import isograd.isomers.symbolic.domains as domains


def main() -> None:
    source = Path(domains.__file__).parent / "domains"
    target = Path(__file__).parent / "build" / "words"
    target.mkdir(parents=True, exist_ok=True)
    words = list(domains.load_domain("law").cues)
    for name in domains.domain_names():
        lines = (source / f"{name}.yaml").read_text(encoding="utf-8").splitlines()
        (place,) = [number for number, line in enumerate(lines) if line.startswith("cues:")]
        lines[place] = f"cues: [{', '.join(words)}]"
        (target / f"{name}.yaml").write_text("\n".join(lines) + "\n", encoding="utf-8")
        assert list(domains.load_domain(str(target / f"{name}.yaml")).cues) == words


if __name__ == "__main__":
    main()
