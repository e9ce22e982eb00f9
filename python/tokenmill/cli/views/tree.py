"""The tree of a beam search, from the candidates of its steps. It knows no token's text."""

from dataclasses import dataclass, field

from tokenmill.api.records import BeamCandidate, ExplainedStep


@dataclass(slots=True)
class Node:
    """A candidate, and those behind it."""

    candidate: BeamCandidate
    children: list["Node"] = field(default_factory=list)


def grow(steps: list[ExplainedStep]) -> list[Node]:
    """The first step's candidates, each with what grew from it, in the order of the search."""
    roots: list[Node] = []
    # Before the first token there is one beam, whatever its number.
    beams: dict[int, list[Node]] | None = None
    for step in steps:
        kept: dict[int, list[Node]] = {}
        for candidate in candidates_of(step):
            node = Node(candidate)
            place = roots if beams is None else beams.get(candidate["parent"], roots)
            place.append(node)
            if candidate["fate"] == "kept" and candidate["beam"] is not None:
                kept[candidate["beam"]] = node.children
        beams = kept
    return roots


def candidates_of(step: ExplainedStep) -> list[BeamCandidate]:
    """The candidates of a step of a beam search; of any other step there are none."""
    pick = step["pick"]
    return pick["candidates"] if pick["kind"] == "beams" else []


def path_of(step: int, parent: int, steps: list[ExplainedStep]) -> list[int]:
    """Tokens of the beam with this number before `step`, the first one first."""
    tokens: list[int] = []
    for earlier in reversed(steps[:step]):
        for candidate in candidates_of(earlier):
            if candidate["fate"] == "kept" and candidate["beam"] == parent:
                tokens.append(candidate["token"])
                parent = candidate["parent"]
                break
    return tokens[::-1]
