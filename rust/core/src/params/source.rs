//! Parameters of the strategies that read a second row of logits beside the model's own, and of contrastive search.
//! At most one second row at a time; which options exclude each other is `option::sampling`'s.

use crate::id::TokenId;

/// Guidance without a classifier: the scores move away from what the model says without the prompt.
#[derive(Clone, Debug, PartialEq)]
pub struct Guidance {
    /// How far; 1 leaves the scores as they are, 0 takes those without the prompt.
    pub scale: f32,
    /// The prompt of the other row; absent: the last token of the request's own.
    pub negative_prompt: Option<String>,
    /// The same as token ids.
    pub negative_prompt_token_ids: Option<Vec<TokenId>>,
}

impl Default for Guidance {
    fn default() -> Self {
        Self {
            scale: 1.0,
            negative_prompt: None,
            negative_prompt_token_ids: None,
        }
    }
}

/// How the rows of expert and amateur are combined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ContrastiveMode {
    /// ln of the expert's probability less `lambda` times that of the amateur's.
    #[default]
    Difference,
    /// 1 + `beta` times the expert's logit less `beta` times the amateur's.
    Scaled,
}

impl ContrastiveMode {
    /// The public names, in the order of the variants.
    pub const NAMES: [&'static str; 2] = ["difference", "scaled"];

    /// The public name.
    pub const fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }

    /// The variant of a public name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Difference, Self::Scaled]
            .into_iter()
            .find(|mode| mode.name() == name)
    }
}

/// Contrastive decoding: what the model likes better than a weaker one does.
#[derive(Clone, Debug, PartialEq)]
pub struct Contrastive {
    /// Name of the weaker model, which must be the one the engine holds; absent: that one.
    pub amateur: Option<String>,
    /// How the rows are combined.
    pub mode: ContrastiveMode,
    /// Tokens with less than this share of the model's best probability are banned, [0, 1].
    pub alpha: f32,
    /// Weight of the amateur in `Difference`.
    pub lambda: f32,
    /// Weight of the amateur in `Scaled`.
    pub beta: f32,
    /// Divides the amateur's logits, > 0.
    pub temperature: f32,
}

impl Default for Contrastive {
    fn default() -> Self {
        Self {
            amateur: None,
            mode: ContrastiveMode::Difference,
            alpha: 0.1,
            lambda: 1.0,
            beta: 0.5,
            temperature: 1.0,
        }
    }
}

/// The layers among which `DoLa` looks for the row that differs most from the last one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DolaLayers {
    /// The lower half of the model, every second layer.
    Low,
    /// The upper half, every second layer.
    High,
    /// These, ascending; 0 is the embedding, the number of layers the model's own row.
    Listed(Vec<u32>),
}

impl DolaLayers {
    /// The names that are no lists.
    pub const NAMES: [&'static str; 2] = ["low", "high"];

    /// Above so many layers `Low` and `High` are twenty at either end instead of halves.
    const HALVES_MAX: u32 = 40;
    const END: u32 = 20;

    /// The layers of a model of `layers`. Where the embedding is also the output head, an exit from it would only
    /// give back the token that was read, so there the lower half starts at 2.
    pub fn of_model(&self, layers: u32, is_tied: bool) -> Vec<u32> {
        let start = match (is_tied, layers) {
            (false, _) | (true, 0 | 1) => 0,
            (true, 2) => 1,
            (true, _) => 2,
        };
        let is_deep = layers > Self::HALVES_MAX;
        let every_second = |from: u32, to: u32| (from..to).step_by(2).collect();
        match self {
            Self::Low if !is_deep && start >= layers / 2 => vec![start],
            Self::Low if is_deep => every_second(start, Self::END),
            Self::Low => every_second(start, layers / 2),
            Self::High if is_deep => every_second(layers - Self::END, layers),
            Self::High => every_second(layers / 2, layers),
            Self::Listed(listed) => listed.clone(),
        }
    }
}

/// How far two rows are from each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Divergence {
    /// Jensen and Shannon's, as in books.
    #[default]
    Jsd,
    /// What the authors' code computes under that name.
    Reference,
}

impl Divergence {
    /// The public names, in the order of the variants.
    pub const NAMES: [&'static str; 2] = ["jsd", "reference"];

    /// The public name.
    pub const fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }

    /// The variant of a public name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Jsd, Self::Reference]
            .into_iter()
            .find(|divergence| divergence.name() == name)
    }
}

/// `DoLa`: what the last layer likes better than an early one does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dola {
    /// The candidates for the early layer; absent: off.
    pub layers: Option<DolaLayers>,
    /// By which the candidate is chosen.
    pub divergence: Divergence,
}

#[cfg(test)]
mod tests {
    use super::DolaLayers::{High, Listed, Low};

    #[test]
    fn halves_of_models_are_those_of_transformers() {
        let every_second = |from: u32, to: u32| (from..=to).step_by(2).collect::<Vec<_>>();
        // LLaMA of 32 layers, SmolLM2 of 30 with a tied head.
        assert_eq!(Low.of_model(32, false), every_second(0, 14));
        assert_eq!(High.of_model(32, false), every_second(16, 30));
        assert_eq!(Low.of_model(30, true), every_second(2, 14));
        assert_eq!(High.of_model(30, true), every_second(15, 29));
        assert_eq!(Low.of_model(60, false), every_second(0, 18));
        assert_eq!(Low.of_model(60, true), every_second(2, 18));
        assert_eq!(High.of_model(60, true), every_second(40, 58));
        assert_eq!(Listed(vec![1, 7]).of_model(60, true), [1, 7]);
    }

    #[test]
    fn shallow_models_have_a_candidate_too() {
        assert_eq!(Low.of_model(1, true), [0]);
        assert_eq!(Low.of_model(2, true), [1]);
        assert_eq!(Low.of_model(3, true), [2]);
        assert_eq!(Low.of_model(4, true), [2]);
        assert_eq!(Low.of_model(1, false), [0]);
        assert_eq!(Low.of_model(2, false), [0]);
        assert_eq!(High.of_model(1, true), [0]);
        assert_eq!(High.of_model(3, false), [1]);
    }
}
