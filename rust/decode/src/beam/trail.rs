//! The tokens of all beams of a search as one tree: a child knows its parent, so that beams share what they have
//! in common and a fork costs one node. Branches that nobody holds any more are cut off now and then.

use tokenmill_core::{TokenId, TokenLogprobs};

/// One place in the tree: a generated token and all that came before it.
pub(super) type Leaf = u32;

/// Before the first generated token.
pub(super) const ROOT: Leaf = 0;

/// Nodes that are kept whether or not anybody holds them.
const SLACK: usize = 1024;

#[derive(Clone, Debug)]
struct Node {
    parent: Leaf,
    token: TokenId,
    /// Generated tokens up to here.
    len: u32,
    logprobs: Option<TokenLogprobs>,
}

/// The tree.
#[derive(Clone, Debug)]
pub(super) struct Trail {
    nodes: Vec<Node>,
    /// At this many nodes the loose branches are looked for.
    len_max: usize,
}

impl Trail {
    pub(super) fn new() -> Self {
        let root = Node {
            parent: ROOT,
            token: 0,
            len: 0,
            logprobs: None,
        };
        Self {
            nodes: vec![root],
            len_max: SLACK,
        }
    }

    /// Goes on from `parent`.
    pub(super) fn push(
        &mut self,
        parent: Leaf,
        token: TokenId,
        logprobs: Option<TokenLogprobs>,
    ) -> Leaf {
        let len = self.len(parent) as u32 + 1;
        self.nodes.push(Node {
            parent,
            token,
            len,
            logprobs,
        });
        (self.nodes.len() - 1) as Leaf
    }

    /// Generated tokens up to `leaf`.
    pub(super) fn len(&self, leaf: Leaf) -> usize {
        self.nodes[leaf as usize].len as usize
    }

    /// Calls `visit` from `leaf` upwards until `len` tokens are left.
    fn climb(&self, mut leaf: Leaf, len: usize, mut visit: impl FnMut(&Node)) {
        while self.len(leaf) > len {
            let node = &self.nodes[leaf as usize];
            visit(node);
            leaf = node.parent;
        }
    }

    /// The tokens up to `leaf` behind the first `from`.
    pub(super) fn tokens(&self, leaf: Leaf, from: usize) -> Vec<TokenId> {
        let mut tokens = Vec::with_capacity(self.len(leaf).saturating_sub(from));
        self.climb(leaf, from, |node| tokens.push(node.token));
        tokens.reverse();
        tokens
    }

    /// What is reported of them, where anything is.
    pub(super) fn logprobs(&self, leaf: Leaf, from: usize) -> Vec<TokenLogprobs> {
        let mut all = Vec::new();
        self.climb(leaf, from, |node| all.extend(node.logprobs.clone()));
        all.reverse();
        all
    }

    /// The last place that two have in common.
    pub(super) fn fork(&self, mut one: Leaf, mut other: Leaf) -> Leaf {
        while one != other {
            let later = if self.len(one) >= self.len(other) {
                &mut one
            } else {
                &mut other
            };
            *later = self.nodes[*later as usize].parent;
        }
        one
    }

    /// Cuts off what no leaf of `held` needs once there is much of it; the leaves move with their nodes.
    pub(super) fn prune(&mut self, held: &mut [&mut Leaf]) {
        if self.nodes.len() < self.len_max {
            return;
        }
        let mut places = vec![None; self.nodes.len()];
        places[ROOT as usize] = Some(ROOT);
        for leaf in held.iter() {
            let mut leaf = **leaf;
            while places[leaf as usize].is_none() {
                places[leaf as usize] = Some(leaf);
                leaf = self.nodes[leaf as usize].parent;
            }
        }
        // A parent stands before its children, so its new place is known when they come.
        let kept = places.iter_mut().filter(|place| place.is_some());
        for (place, new) in kept.zip(0..) {
            *place = Some(new);
        }
        let moved = |leaf: Leaf| places[leaf as usize].unwrap_or(ROOT);
        let mut index = 0;
        self.nodes.retain(|_| {
            index += 1;
            places[index - 1].is_some()
        });
        for node in &mut self.nodes {
            node.parent = moved(node.parent);
        }
        for leaf in held {
            **leaf = moved(**leaf);
        }
        self.len_max = 2 * self.nodes.len() + SLACK;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn branches_share_what_they_have_in_common() {
        let mut trail = Trail::new();
        let first = trail.push(ROOT, 5, None);
        let left = trail.push(first, 6, None);
        let right = trail.push(first, 7, None);
        let far = trail.push(right, 8, None);
        assert_eq!(trail.tokens(far, 0), [5, 7, 8]);
        assert_eq!(trail.tokens(far, 1), [7, 8]);
        assert_eq!(trail.fork(left, far), first);
        assert_eq!(trail.fork(right, far), right);
        assert_eq!(trail.fork(ROOT, far), ROOT);
        assert_eq!(trail.len(left), 2);
    }

    #[test]
    fn loose_branches_are_cut_off_and_the_others_read_as_before() {
        let mut trail = Trail::new();
        let mut held = [ROOT, ROOT];
        let mut expected = [Vec::new(), Vec::new()];
        for step in 0..5_000 {
            for (leaf, expected) in held.iter_mut().zip(&mut expected) {
                trail.push(*leaf, 1_000_000, None);
                *leaf = trail.push(*leaf, step, None);
                expected.push(step);
            }
            let [one, other] = &mut held;
            trail.prune(&mut [one, other]);
        }
        assert!(trail.nodes.len() <= 2 * 10_001 + SLACK);
        for (leaf, expected) in held.iter().zip(&expected) {
            assert_eq!(&trail.tokens(*leaf, 0), expected);
        }
    }
}
