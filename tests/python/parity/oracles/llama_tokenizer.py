"""llama.cpp's tokenizer in another environment: JSON texts in, JSON ids out, a line each.

    python llama_tokenizer.py FILE.gguf < texts.jsonl > ids.jsonl

A text gives two lists of ids: with control tokens read as text, and as what they are.

Run by the interpreter that has llama-cpp-python; it imports nothing of ours.
"""

import json
import sys

import llama_cpp


def main() -> None:
    """Tokenise until the input ends."""
    model = llama_cpp.Llama(sys.argv[1], vocab_only=True, verbose=False)
    for line in sys.stdin:
        text = json.loads(line).encode()
        ids = [model.tokenize(text, add_bos=False, special=special) for special in (False, True)]
        sys.stdout.write(json.dumps(ids) + "\n")


if __name__ == "__main__":
    main()
