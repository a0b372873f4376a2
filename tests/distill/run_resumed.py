"""Training that stops in the middle of its second epoch under ``torchrun``: ``run_resumed.py FOLDER``.

Every process writes the gradients of the last step, once of the whole and once of a run that goes on from a checkpoint.
Run by test_methods_in_trainer.py.
"""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path

from safetensors.torch import save_file
from transformers import AutoTokenizer

from isograd.student import student_path
from tests.distill.run_methods import build, train


def main() -> None:
    warnings.simplefilter("ignore")
    folder = Path(sys.argv[1])
    tokenizer = AutoTokenizer.from_pretrained(student_path())
    # Three steps an epoch.
    settings = {"max_steps": 6, "save_strategy": "steps", "save_steps": 5}
    for name, options in (("whole", {}), ("resumed", {"resume_from_checkpoint": str(folder / "out" / "checkpoint-5")})):
        caught = train(build(settings, tokenizer, folder), **options)
        save_file({key: value.contiguous() for key, value in caught.items()}, folder / f"{name}.{os.environ['RANK']}")


if __name__ == "__main__":
    main()
