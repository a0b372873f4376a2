"""The built-in student's tokenizer: every word of the domain files is one token, anything else is spelled in bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isograd.student.corpus import vocabulary_text

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

__all__ = ["BOS", "EOS", "PAD", "build_tokenizer"]

PAD, BOS, EOS = "<|pad|>", "<|begin|>", "<|end|>"


def build_tokenizer(max_length: int) -> PreTrainedTokenizerFast:
    """Build the tokenizer from the words of all domains: deterministic, about a second.

    Byte-level, so any text can be encoded and decoded back exactly; digits are single tokens; a text starts with
    :data:`BOS`.

    Args:
        max_length: the model's context length in tokens.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    # One space belongs to the word or digit after it; digits and line ends stand alone.
    pattern = Regex(r" ?\d| ?[A-Za-z']+|\n| ?[^\sA-Za-z\d]+|\s+")
    splitter = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(pattern, behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    words = {word for text in vocabulary_text() for word, _ in splitter.pre_tokenize_str(text)}
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    # Whole words are likelier than their bytes, so a known word is one token; no parts of words are needed.
    vocabulary = [
        *((mark, 0.0) for mark in (PAD, BOS, EOS)),
        *((byte, -10.0) for byte in sorted(alphabet)),
        *((word, -1.0) for word in sorted(words - set(alphabet))),
    ]
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=None, byte_fallback=False))
    tokenizer.pre_tokenizer = splitter
    tokenizer.add_special_tokens([PAD, BOS, EOS])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", special_tokens=[(BOS, tokenizer.token_to_id(BOS))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        bos_token=BOS,
        eos_token=EOS,
        model_max_length=max_length,
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )
