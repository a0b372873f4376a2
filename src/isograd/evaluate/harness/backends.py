"""The models to be measured, behind lm-evaluation-harness's interface."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from isograd.common.errors import UserError
from isograd.common.files import read_json

__all__ = ["BACKENDS", "Backend", "Kind", "Subject", "UnreadableReplyError", "fingerprint", "open_model"]

Kind = Literal["hf", "vllm", "openai", "completions"]
BACKENDS: Final = ("hf", "vllm", "openai", "completions")
# The ranks that vLLM allocates room for.
_RANKS: Final = (8, 16, 32, 64, 128, 256, 320, 512)


@dataclass(frozen=True)
class Subject:
    """A model to be measured.

    Attributes:
        label: its name in tables.
        model: folder or hub id of the base model; at a server, the name that it is served under.
        adapter: folder of a PEFT adapter on it.
        trust_remote_code: let the model's repository run its own code.
    """

    label: str
    model: str
    adapter: Path | None = None
    trust_remote_code: bool = False


@dataclass(frozen=True)
class Backend:
    """What runs the models.

    Attributes:
        kind: ``hf`` (transformers and PEFT), ``vllm``, ``openai`` (a server's chat completions) or ``completions`` (a
            server's plain completions with log-probabilities of the prompt).
        url: of the server, ending in ``/v1``; its key is read from the environment variable OPENAI_API_KEY.
        tokenizer: folder or hub id, for ``completions``; by default the model's name.
        batch_size: prompts in one forward pass, or requests under way at a server.
        chat_template: put prompts into the model's chat template; ``openai`` always does, ``completions`` cannot.
    """

    kind: Kind = "hf"
    url: str = ""
    tokenizer: str = ""
    batch_size: int = 8
    chat_template: bool = False

    def __post_init__(self) -> None:
        if self.kind not in BACKENDS:
            raise UserError(f"unknown backend {self.kind!r}; there are {', '.join(BACKENDS)}")
        if self.batch_size < 1:
            raise UserError(f"batch_size is {self.batch_size}; it must be at least 1")
        if self.served != bool(self.url):
            needs = "needs the server's address, for example --base-url http://localhost:8000/v1"
            raise UserError(f"backend {self.kind} {needs if self.served else 'asks no server; leave out the address'}")
        if self.tokenizer and self.kind != "completions":
            raise UserError(f"backend {self.kind} takes no tokenizer of its own")
        if self.chat_template and self.kind == "completions":
            raise UserError("backend completions sends plain prompts; for a chat template use backend openai")

    @property
    def served(self) -> bool:
        """Whether a server runs the models."""
        return self.kind in ("openai", "completions")

    @property
    def chunk(self) -> int:
        """Requests between two commits to the store of responses."""
        return max(256, self.batch_size) if self.kind == "vllm" else 4 * self.batch_size


class UnreadableReplyError(ValueError):
    """A server's reply that holds no answer."""


def fingerprint(subject: Subject, backend: Backend) -> str:
    """What tells this model from every other, 16 hexadecimal digits.

    It covers the backend, the base model (the files of a folder; name and commit of a hub id) and the adapter's weights
    and settings. Of a server only address and model name are known.

    Raises:
        UserError: a model or adapter that is not there.
    """
    parts: dict[str, Any] = {"backend": backend.kind, "model": subject.model}
    if backend.served:
        parts["url"] = backend.url
    else:
        folder = Path(subject.model)
        parts["model"] = _digest_of_folder(folder, subject) if folder.is_dir() else [subject.model, _commit(subject)]
        if subject.adapter is not None:
            settings = read_json(subject.adapter / "adapter_config.json")
            settings.pop("base_model_name_or_path", None)
            parts["adapter"] = [_digest(_weights(subject.adapter)), settings]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digest_of_folder(folder: Path, subject: Subject) -> list[list[str]]:
    # Vocabularies and merges are .txt in older models.
    suffixes = {".safetensors", ".json", ".model", ".jinja", ".txt", *([".py"] if subject.trust_remote_code else [])}
    files = sorted(path for path in folder.iterdir() if path.suffix in suffixes)
    return [[path.name, _digest(path)] for path in files]


def _weights(adapter: Path) -> Path:
    file = adapter / "adapter_model.safetensors"
    if not file.is_file():
        raise UserError(f"{adapter}: holds no adapter in safetensors (adapter_model.safetensors is missing)")
    return file


def _commit(subject: Subject) -> str | None:
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(subject.model, trust_remote_code=subject.trust_remote_code)
    except (OSError, ValueError) as error:
        raise UserError(f"model {subject.model!r} cannot be loaded: {' '.join(str(error).split())}") from None
    commit: str | None = getattr(config, "_commit_hash", None)
    return commit


def open_model(subject: Subject, backend: Backend) -> Any:
    """lm-eval's object of a model.

    Raises:
        UserError: the model or the backend cannot be loaded.
    """
    from lm_eval.api.registry import get_model

    if backend.kind == "hf":
        from isograd.evaluate.suite import load_student

        if subject.adapter is not None:
            _weights(subject.adapter)
        model, tokenizer = load_student(subject.model, subject.adapter, trust_remote_code=subject.trust_remote_code)
        return get_model("hf")(pretrained=model, tokenizer=tokenizer, batch_size=backend.batch_size)
    if backend.kind == "vllm":
        if importlib.util.find_spec("vllm") is None:
            raise UserError("backend vllm needs vLLM; pip install vllm")
        return get_model("vllm")(
            pretrained=subject.model,
            trust_remote_code=subject.trust_remote_code,
            batch_size="auto",
            **_lora(subject.adapter),
        )
    # They tell of every failed try, and of every request but the first that failed for good; that one is raised.
    logging.getLogger("lm_eval.models.api_models").setLevel(logging.CRITICAL)
    logging.getLogger("asyncio").addFilter(_is_other_news)
    if backend.kind == "openai":
        return _checked(
            get_model("local-chat-completions")(
                model=subject.model,
                base_url=f"{backend.url.rstrip('/')}/chat/completions",
                num_concurrent=backend.batch_size,
                # The server cuts at its own end-of-text token.
                eos_string="</s>",
            ),
            "message",
        )
    try:
        return _checked(
            get_model("local-completions")(
                model=subject.model,
                base_url=f"{backend.url.rstrip('/')}/completions",
                num_concurrent=backend.batch_size,
                tokenizer=backend.tokenizer or subject.model,
                tokenizer_backend="huggingface",
                max_length=1 << 20,
            ),
            "text",
        )
    except (OSError, ValueError) as error:
        what = " ".join(str(error).split())
        raise UserError(
            f"the tokenizer of {subject.model!r} cannot be loaded; name it by --tokenizer: {what}"
        ) from None


def _is_other_news(record: logging.LogRecord) -> bool:
    # The harness gathers its requests with tqdm.
    return not ("never retrieved" in record.getMessage() and "tqdm_asyncio" in record.getMessage())


def _checked(model: Any, text: str) -> Any:
    """Make a reply of status 200 without an answer in it an error, which is tried again like any other.

    The harness takes such a reply for an empty answer, or fails on it in ways of its own. ``text`` is the field of a
    choice that holds its text.
    """
    call, texts, likelihoods = model.model_call, model.parse_generations, model.parse_logprobs

    def check(replies: Any, needed: str) -> Any:
        for reply in replies if isinstance(replies, list) else [replies]:
            choices = reply.get("choices") if isinstance(reply, dict) else None
            if not isinstance(choices, list) or not choices or any(choice.get(needed) is None for choice in choices):
                raise UnreadableReplyError(f"a reply without {needed!r}: {json.dumps(reply)[:200]}")
        return replies

    def model_call(messages: Any, *, generate: bool = True, **settings: Any) -> Any:
        return check(call(messages, generate=generate, **settings), text if generate else "logprobs")

    model.model_call = model_call
    model.parse_generations = lambda outputs, **settings: texts(check(outputs, text), **settings)
    model.parse_logprobs = lambda outputs, **settings: likelihoods(check(outputs, "logprobs"), **settings)
    return model


def _lora(adapter: Path | None) -> dict[str, Any]:
    if adapter is None:
        return {}
    _weights(adapter)
    rank = read_json(adapter / "adapter_config.json")["r"]
    room = next((size for size in _RANKS if size >= rank), None)
    if room is None:
        raise UserError(f"{adapter}: rank {rank} is more than vLLM takes ({_RANKS[-1]}); merge the adapter first")
    return {"lora_local_path": str(adapter), "max_lora_rank": room}
