"""Folders with a tokenizer.json: ids and texts are those of transformers.

The tokenizers are trained here on a few thousand lines, one of each family that the known
architectures use, and stand beside a random checkpoint as a published model's would.
"""

import json

import pytest
import torch
import transformers
from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

from parity.conftest import EXACT
from parity.texts import corpus
from tokenmill import LLM

VOCAB_LEN = 700
CONTROL = ["<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>"]
SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] "
    "| trim + '<|im_end|>' + '\n' }}{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def gpt2() -> Tokenizer:
    """Byte-level BPE with GPT-2's splitter."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def llama3() -> Tokenizer:
    """Byte-level BPE, a regular expression of its own, and a beginning that is added."""
    tokenizer = Tokenizer(models.BPE(ignore_merges=True))
    split = pre_tokenizers.Split(Regex(SPLIT), behavior="isolated")
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, level])
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def qwen() -> Tokenizer:
    """As Llama 3's, after Unicode normalisation."""
    tokenizer = llama3()
    tokenizer.normalizer = normalizers.NFC()
    return tokenizer


def llama2() -> Tokenizer:
    """SentencePiece's marks for spaces, and bytes for what has no token."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(content=" ", left=1),
        ]
    )
    return tokenizer


FAMILIES = {"gpt2": gpt2, "llama3": llama3, "qwen": qwen, "llama2": llama2}


@pytest.fixture(scope="module")
def lines():
    """The corpus."""
    return corpus.lines()


@pytest.fixture(scope="module", params=FAMILIES)
def pair(request, lines, tmp_path_factory):
    """transformers' tokenizer of a folder, and our engine on the same folder."""
    tokenizer = FAMILIES[request.param]()
    is_bytes = request.param == "llama2"
    alphabet = [] if is_bytes else pre_tokenizers.ByteLevel.alphabet()
    control = CONTROL + [f"<0x{byte:02X}>" for byte in range(256)] if is_bytes else CONTROL
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_LEN,
        special_tokens=control,
        initial_alphabet=alphabet,
        limit_alphabet=300,
        show_progress=False,
    )
    tokenizer.train_from_iterator(lines[:7000:3], trainer)
    if is_bytes:
        tokenizer = without_byte_marks(tokenizer)
    tokenizer.add_tokens([AddedToken("<tool>", special=False), AddedToken("  \n", special=False)])
    if request.param in ("llama2", "llama3"):
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)]
        )
    folder = tmp_path_factory.mktemp(request.param)
    wrapped = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        chat_template=TEMPLATE,
        clean_up_tokenization_spaces=False,
    )
    wrapped.save_pretrained(folder)
    save_model(folder, len(wrapped))
    theirs = transformers.AutoTokenizer.from_pretrained(folder)
    with LLM(folder, **EXACT, kv_cache_memory_bytes=4 << 20) as llm:
        yield theirs, llm


def without_byte_marks(tokenizer: Tokenizer) -> Tokenizer:
    """Byte tokens belong to the vocabulary alone: as special tokens they would match text."""
    content = json.loads(tokenizer.to_str())
    content["added_tokens"] = [
        token for token in content["added_tokens"] if not token["content"].startswith("<0x")
    ]
    return Tokenizer.from_str(json.dumps(content))


def save_model(folder, vocab_len: int) -> None:
    """A random Llama that has a row for every token."""
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=vocab_len,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=256,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=None,
    )
    transformers.LlamaForCausalLM(config).save_pretrained(folder)


def test_ids_are_those_of_transformers(pair, lines):
    theirs, llm = pair
    ours = llm.get_tokenizer()
    for line in lines[::5]:
        # Names of control tokens in a caller's text stay text here, so they are compared apart.
        if any(name in line for name in CONTROL):
            continue
        for add_special in (False, True):
            expected = theirs(line, add_special_tokens=add_special)["input_ids"]
            assert ours.encode(line, add_special) == expected, (line, add_special)


def test_texts_of_ids_are_those_of_transformers(pair, lines):
    theirs, llm = pair
    ours = llm.get_tokenizer()
    for line in lines[::11]:
        ids = ours.encode(line)
        for skip in (False, True):
            expected = theirs.decode(ids, skip_special_tokens=skip)
            assert ours.decode(ids, skip) == expected, (line, skip)


def test_added_tokens_are_cut_out_whole(pair):
    theirs, llm = pair
    for text in ("use <tool>now", "a<tool><tool>b", "end  \n", "  \n  \n x", "<tool"):
        expected = theirs(text, add_special_tokens=False)["input_ids"]
        assert llm.get_tokenizer().encode(text, add_special_tokens=False) == expected, text


def test_conversations_become_the_ids_of_transformers(pair):
    theirs, llm = pair
    conversation = [
        {"role": "system", "content": " Be brief. "},
        {"role": "user", "content": "Zwölf Boxkämpfer jagen Viktor 🥊 e\u0301"},
        {"role": "assistant", "content": "Ja.\n\n"},
        {"role": "user", "content": "Wie viele?"},
    ]
    text = theirs.apply_chat_template(conversation, tokenize=False, add_generation_prompt=True)
    ours = llm.get_tokenizer().apply_chat_template(conversation, add_generation_prompt=True)
    assert ours == text
    expected = theirs(text, add_special_tokens=False)["input_ids"]
    assert llm._engine.encode(text, False, True) == expected
    assert llm.chat(conversation, use_tqdm=False)[0].prompt_token_ids == expected
