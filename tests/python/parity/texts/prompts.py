"""The prompts of the parity tests: plain texts and conversations, all written for this file.

A prompt is a name and either a text or a list of messages. The set is chosen so that tokenizer,
template, prefill, chunking and decode all meet what real use brings: prose, code, several turns,
other scripts, emoji, digits, white space, one token, and 1,500 tokens. Changing anything here
changes `digest()`, and with it the golden file must be made again (oracles/make_golden.py).
"""

import hashlib
import json
from dataclasses import dataclass

Message = dict[str, str]


@dataclass(frozen=True)
class Prompt:
    """A name, and a text or a conversation."""

    name: str
    content: str | list[Message]


def chat(name: str, *turns: str, system: str | None = None) -> Prompt:
    """A conversation whose turns alternate, the user first."""
    messages = [] if system is None else [{"role": "system", "content": system}]
    for index, turn in enumerate(turns):
        messages.append({"role": "assistant" if index % 2 else "user", "content": turn})
    return Prompt(name, messages)


def logbook(days: int) -> str:
    """A miller's logbook: prose that can be made as long as a test needs, no two days alike."""
    weather = ("rain since dawn", "a dry east wind", "frost on the sluice", "warm and still", "fog")
    work = (
        "dressed the runner stone and set it a hair closer",
        "ground wheat for the baker in Lower Marsh",
        "replaced two paddles that the ice had split",
        "let the water run free, for nobody came",
        "ground barley, coarse, for the brewer's second wagon",
        "cleared reeds from the head race with the boy",
        "weighed the flour twice, since the scales had stuck",
    )
    events = (
        "The heron stood by the weir again and did not mind us.",
        "A pedlar sold us needles and told of a bridge that fell in the north.",
        "My sister wrote; her letter took nine days.",
        "We found the missing key in the oldest of the sacks, where I had looked first.",
        "The boy asked why water never climbs, and I had no short answer.",
    )
    lines = []
    for day in range(days):
        sacks, depth = 3 + day * 7 % 11, 40 + day * 13 % 29
        lines.append(
            f"Day {day + 1}. {weather[day % 5].capitalize()}; the gauge reads {depth} inches. We "
            f"{work[day * 3 % 7]}, {sacks} sacks in all. {events[(day + day // 5) % 5]}"
        )
    return "\n".join(lines)


PROSE = (
    Prompt("one-token", "The"),
    Prompt("capital", "The capital of France is"),
    Prompt(
        "river",
        "The river had risen in the night. When Anna opened the door of the mill, the lowest step "
        "was already under water, and the wheel, which she had locked the evening before, was",
    ),
    Prompt(
        "letter",
        "Dear Mr. Hollis,\n\nThank you for your letter of the 14th. We have looked into the matter "
        "of the late delivery and we are sorry to say that",
    ),
    Prompt(
        "science",
        "Photosynthesis takes place in two stages. In the first, light is absorbed by chlorophyll "
        "and water is split; in the second,",
    ),
    Prompt(
        "list",
        "Things to bring for a week of walking in the hills:\n1. boots that are already worn in\n"
        "2. a map and a compass\n3.",
    ),
    Prompt("dialogue", '"You are late," said the clerk.\n"The train was late," said Tom.\n"'),
    Prompt("repetition", "tick tock tick tock tick tock tick tock tick tock tick"),
    Prompt("quotes", "She asked: “Isn’t it — after all — the café’s “best” idea…?” He answered:"),
    Prompt("upper", "WARNING: DO NOT OPEN THIS VALVE WHILE THE PUMP IS RUNNING. IF THE VALVE"),
)
CODE = (
    Prompt(
        "python",
        "def merge_sorted(left: list[int], right: list[int]) -> list[int]:\n"
        '    """Merge two sorted lists into one sorted list."""\n    merged = []\n    i = j = 0\n',
    ),
    Prompt(
        "rust",
        "/// Returns the greatest common divisor.\nfn gcd(mut a: u64, mut b: u64) -> u64 {\n"
        "    while b != 0 {\n",
    ),
    Prompt(
        "c",
        "#include <stdio.h>\n\nint main(int argc, char **argv)\n{\n\tfor (int i = 1; i < argc; i++)"
        " {\n\t\t",
    ),
    Prompt("sql", "SELECT customer.name, SUM(invoice.total) AS spent\nFROM customer\nJOIN invoice"),
    Prompt(
        "json",
        '{"orders": [{"id": 1001, "items": ["flour", "yeast"], "paid": true}, {"id": 1002, "items"',
    ),
    Prompt(
        "html",
        "<!DOCTYPE html>\n<html>\n  <head>\n    <title>Water levels</title>\n  </head>\n  <body>\n",
    ),
    Prompt("shell", "$ ls -la /var/log | sort -k5 -n | tail -3\n-rw-r--r-- 1 root root   4096 Mar"),
    Prompt(
        "table", "| year | sacks | price |\n|------|-------|-------|\n| 1841 | 1,204 | 3.50 |\n|"
    ),
)
SCRIPTS = (
    Prompt("chinese", "水车是一种利用水流来转动的机器。在古代，人们用它来"),
    Prompt("japanese", "水車は、水の流れを利用して"),
    Prompt("russian", "Водяная мельница стояла на берегу реки, и каждое утро"),
    Prompt("arabic", "الطاحونة المائية هي آلة"),
    Prompt("hindi", "पानी की चक्की एक मशीन है"),
    Prompt("french", "Le moulin à eau était situé au bord de la rivière, où l’été"),
    Prompt("german", "Die Wassermühle gehörte dem Müller, der jeden Morgen früh"),
    Prompt("emoji", "Weather today 🌧️🌧️☀️ and my mood 😀👩‍👩‍👧‍👦🇫🇷 so I will"),
    Prompt("symbols", "∀x ∈ ℝ: x² ≥ 0 ⇒ √(x²) = |x|, ½ + ¼ = ¾, ٣٤٥ Ⅷ"),
)
NUMBERS = (
    Prompt("digits", "3.14159265358979323846264338327950288419716939937510"),
    Prompt("sums", "12 + 30 = 42\n7 + 8 = 15\n100 + 250 = 350\n19 + 23 ="),
    Prompt("spaces", "a  2   b\t\tc\n\n\n    d      e\r\nf \n g"),
)
CHATS = (
    chat("chat-capital", "What is the capital of France?"),
    chat("chat-poem", "Write a short poem about a mill by a river.", system="You are a poet."),
    chat(
        "chat-turns",
        "Hi! My name is Mira and I keep bees.",
        "Hello Mira! Beekeeping sounds fascinating. How many hives do you have?",
        "Four. Two of them are weak this spring. What should I check first?",
    ),
    chat(
        "chat-five",
        "Give me a number.",
        "7",
        "Another one, larger.",
        "12",
        "Now add them and say only the result.",
        system="Answer with numbers only.",
    ),
    chat("chat-code", "Write a Python function that reverses a string. Explain it in one line."),
    chat("chat-chinese", "你好！请用一句话介绍一下长江。"),
    chat("chat-emoji", "Translate to emoji: I love pizza and the sea 🍕🌊"),
    chat("chat-empty-system", "What makes bread rise?", system=""),
)
LONG = (
    Prompt("long-1500", "The logbook of the mill at Three Weirs.\n\n" + logbook(29)),
    chat("long-chat", "Here is a logbook:\n" + logbook(8) + "\nSummarise it in two sentences."),
)
PROMPTS = PROSE + CODE + SCRIPTS + NUMBERS + CHATS + LONG

# Where whole rows of logits are compared: prompt, and after how many of its tokens. Around 16, 512
# and 1,024 a block, a split of attention or a chunk of the prompt ends.
CUTS = {
    "river": (1, 2, 7, 15, 16, 17, 31, 32, 33),
    "python": (5, 20, 40),
    "chinese": (1, 9),
    "emoji": (3, 18),
    "chat-turns": (1, 30, 60),
    "long-1500": (64, 255, 256, 257, 511, 512, 513, 1000, 1024, 1025, 1400),
}


def digest() -> str:
    """What the golden file was made from."""
    content = [[prompt.name, prompt.content] for prompt in PROMPTS] + [sorted(CUTS.items())]
    return hashlib.sha256(json.dumps(content, ensure_ascii=True).encode()).hexdigest()[:16]
