"""The rules of STYLE.md and the arrows of ARCHITECTURE.md, on this repository."""

import pytest

from tidy import architecture, manifests, ratchet, sizes, words
from tidy.tree import Tree


@pytest.fixture(scope="module")
def tree(repository):
    return Tree(repository)


def test_sizes_are_within_the_limits_or_only_shrink(tree):
    assert "\n".join(ratchet.judge(sizes.violations(tree), ratchet.load())) == ""


@pytest.mark.parametrize("rule", [manifests, words, architecture])
def test_the_tree_keeps_the_rule(rule, tree):
    assert "\n".join(violation.message for violation in rule.violations(tree)) == ""


def test_the_rules_look_at_something(tree):
    assert len(list(tree.sources(".rs"))) > 50
    assert len(list(tree.sources(".py"))) > 30
