"""What is already too large may only shrink: the record of exceptions, and how it is lowered.

`python -m tidy.ratchet` (`make ratchet`) lowers the record to what is there and drops what is
within the limits. It never adds or raises: a new exception is written by hand, with a reason, and
reviewed.
"""

import tomllib
from collections.abc import Iterable
from pathlib import Path

from tidy import sizes
from tidy.tree import Tree, Violation

RECORD = Path(__file__).with_name("ratchet.toml")
_HEADER = """\
# Places over a size limit. A number may only fall; `make ratchet` lowers it. A reason stands at its
# right.
"""

Record = dict[str, dict[str, int]]


def load(path: Path = RECORD) -> Record:
    """The record: rule to place to the largest amount allowed."""
    return tomllib.loads(path.read_text("utf-8")) if path.exists() else {}


def judge(found: Iterable[Violation], record: Record) -> list[str]:
    """What breaks the ratchet: new or grown places, and numbers that could be lower."""
    problems = []
    seen = set()
    for violation in found:
        allowed = record.get(violation.rule, {}).get(violation.key)
        seen.add((violation.rule, violation.key))
        if allowed is None:
            problems.append(violation.message)
        elif violation.amount > allowed:
            problems.append(f"{violation.message}; it may only shrink and had {allowed}")
        elif violation.amount < allowed:
            problems.append(f"{violation.key} shrank to {violation.amount}: run `make ratchet`")
    for rule, places in record.items():
        for key in places:
            if (rule, key) not in seen:
                problems.append(f"{key} is within the limits now: run `make ratchet`")
    return problems


def lowered(found: Iterable[Violation], record: Record) -> Record:
    """The record with every number as low as it can be."""
    amounts = {(v.rule, v.key): v.amount for v in found}
    result: Record = {}
    for rule, places in record.items():
        for key, allowed in places.items():
            amount = amounts.get((rule, key))
            if amount is not None:
                result.setdefault(rule, {})[key] = min(amount, allowed)
    return result


def write(record: Record, path: Path = RECORD) -> None:
    """Save the record, keeping the reasons that stand at the right of lines."""
    old = path.read_text("utf-8") if path.exists() else ""
    reasons = {}
    for line in old.splitlines():
        key, _, rest = line.partition(" = ")
        reasons[key] = rest.partition("#")[2].strip()
    lines = [_HEADER]
    for rule in sorted(record):
        lines.append(f"[{rule}]\n")
        for key in sorted(record[rule]):
            reason = reasons.get(f'"{key}"', "")
            comment = f"  # {reason}" if reason else ""
            lines.append(f'"{key}" = {record[rule][key]}{comment}\n')
        lines.append("\n")
    path.write_text("".join(lines).rstrip("\n") + "\n", "utf-8")


if __name__ == "__main__":
    repository = Tree(Path(__file__).resolve().parents[3])
    write(lowered(sizes.violations(repository), load()))
