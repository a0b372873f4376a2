"""The built-in student's tokenizer: byte-level BPE in which every word of the domain files is one token."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isograd.student.corpus import vocabulary_text

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

__all__ = ["BOS", "EOS", "PAD", "build_tokenizer"]

PAD, BOS, EOS = "<|pad|>", "<|begin|>", "<|end|>"


def build_tokenizer(max_length: int) -> PreTrainedTokenizerFast:
    """Train the tokenizer on the words of all domains: deterministic, about a second.

    Byte-level, so any text can be encoded and decoded back exactly; digits are single tokens; a text starts with
    :data:`BOS`.

    Args:
        max_length: the model's context length in tokens.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    # One space belongs to the word or digit after it; digits and line ends stand alone.
    pattern = Regex(r" ?\d| ?[A-Za-z']+|\n| ?[^\sA-Za-z\d]+|\s+")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(pattern, behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        # Large enough for training to stop only when every word is one token.
        vocab_size=1 << 14,
        special_tokens=[PAD, BOS, EOS],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(vocabulary_text(), trainer)
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
