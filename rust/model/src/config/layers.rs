//! The sizes of each layer.

use std::ops::RangeInclusive;

use super::{LayerConfig, Reader, WIDTH, unsupported};
use crate::architecture::keys;
use crate::error::Result;
use crate::fields::Key;

const LAYERS: RangeInclusive<usize> = 1..=4096;
const HEADS: RangeInclusive<usize> = 1..=65_536;
const HEAD_DIM: RangeInclusive<usize> = 2..=65_536;

impl Reader<'_> {
    pub(super) fn layers(&self, hidden: usize) -> Result<Vec<LayerConfig>> {
        let fields = &self.fields;
        let len = self.required(keys::LAYERS, LAYERS)?;
        let Some(heads) = fields.counts(keys::HEADS, len, HEADS)? else {
            return Err(fields.missing(keys::HEADS));
        };
        let kv_heads = fields.counts(keys::KV_HEADS, len, HEADS)?;
        let kv_heads = kv_heads.unwrap_or_else(|| heads.clone());
        let experts = self.experts(len)?;
        let inner = match fields.counts(keys::INNER, len, WIDTH)? {
            Some(inner) => inner,
            // Where all layers are mixtures, nobody needs it.
            None if experts.iter().all(Option::is_some) => vec![1; len],
            None => match self.architecture.inner_factor.filter(|_| !fields.is_gguf()) {
                Some(factor) => vec![factor * hidden; len],
                None => return Err(fields.missing(keys::INNER)),
            },
        };
        let head_dim = self.head_dim(hidden, heads.first().copied().unwrap_or(1))?;
        let windows = self.windows(len)?;
        let ropes = self.rotations(&windows)?;
        let mut layers: Vec<LayerConfig> = (0..len)
            .map(|index| LayerConfig {
                heads: heads[index],
                kv_heads: kv_heads[index],
                head_dim,
                inner: inner[index],
                experts: experts[index],
                window: windows[index],
                rope: ropes[index],
            })
            .collect();
        self.override_pruned(&mut layers)?;
        match layers
            .iter()
            .find(|layer| !layer.heads.is_multiple_of(layer.kv_heads))
        {
            Some(layer) => {
                let expected = format!("a divisor of the {} query heads", layer.heads);
                Err(fields.error(keys::KV_HEADS, &expected, &layer.kv_heads.to_string()))
            }
            None => Ok(layers),
        }
    }

    fn head_dim(&self, hidden: usize, heads: usize) -> Result<usize> {
        let fields = &self.fields;
        let stated = fields.count(keys::HEAD_DIM, HEAD_DIM)?;
        let default = self
            .architecture
            .head_dim_default
            .filter(|_| !fields.is_gguf());
        let head_dim = match stated.or(default) {
            Some(head_dim) => head_dim,
            None if hidden.is_multiple_of(heads) => hidden / heads,
            None => {
                let expected = format!("a multiple of the {heads} query heads");
                return Err(fields.error(keys::HIDDEN, &expected, &hidden.to_string()));
            }
        };
        if !head_dim.is_multiple_of(2) || !HEAD_DIM.contains(&head_dim) {
            let expected = "an even number of elements (the rotation pairs them)";
            return Err(fields.error(keys::HEAD_DIM, expected, &head_dim.to_string()));
        }
        Ok(head_dim)
    }

    /// Elements of a head that rotate. Values are as wide as keys.
    pub(super) fn rotated(&self, head_dim: usize) -> Result<usize> {
        let fields = &self.fields;
        let values = Key::new("", "attention.value_length");
        let rotated = Key::new("", "rope.dimension_count");
        let refuse = |key, width: usize| {
            let what = format!("{} = {width} with heads of {head_dim}", fields.name(key));
            Err(unsupported(what))
        };
        if fields.is_gguf() {
            let width = fields.count(values, 0..=65_536)?.unwrap_or(head_dim);
            if width != head_dim {
                return refuse(values, width);
            }
            let width = fields.count(rotated, 0..=65_536)?.unwrap_or(head_dim);
            let is_part = self.architecture.rotated_share.is_some();
            let is_sound = width.is_multiple_of(2) && (1..=head_dim).contains(&width);
            return if width == head_dim || (is_part && is_sound) {
                Ok(width)
            } else {
                refuse(rotated, width)
            };
        }
        let key = Key::new("partial_rotary_factor", "");
        let inner = match fields.object("rope_parameters")? {
            Some(object) => object.number(key, 0.0..=1.0)?,
            None => None,
        };
        let stated = inner.or(fields.number(key, 0.0..=1.0)?);
        let default = self.architecture.rotated_share;
        let share = stated.or(default).unwrap_or(1.0);
        if default.is_none() && share < 1.0 {
            return Err(unsupported(format!("{} = {share}", fields.name(key))));
        }
        let rotated = (head_dim as f64 * share) as usize;
        if rotated == 0 || !rotated.is_multiple_of(2) {
            let expected = format!("a share of the {head_dim} elements of a head that is even");
            return Err(fields.error(key, &expected, &share.to_string()));
        }
        Ok(rotated)
    }

    /// Sizes of single layers of a pruned model (`tokenmill.layers`).
    fn override_pruned(&self, layers: &mut [LayerConfig]) -> Result<()> {
        let Some(ours) = self.fields.object("tokenmill")? else {
            return Ok(());
        };
        let Some(rows) = ours.objects("layers", layers.len())? else {
            return Ok(());
        };
        for (layer, row) in layers.iter_mut().zip(rows) {
            layer.heads = row.count(keys::HEADS, HEADS)?.unwrap_or(layer.heads);
            layer.kv_heads = row.count(keys::KV_HEADS, HEADS)?.unwrap_or(layer.kv_heads);
            let inner = row.count(keys::INNER, WIDTH)?;
            if inner.is_some() && layer.experts.is_some() {
                let what = format!("{} of a mixture of experts", row.name(keys::INNER));
                return Err(unsupported(what));
            }
            layer.inner = inner.unwrap_or(layer.inner);
        }
        Ok(())
    }
}
