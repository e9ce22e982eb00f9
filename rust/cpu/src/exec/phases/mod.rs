//! The phases that are split over outputs, heads or items, and how each is cut into units. Sums are never cut.

mod attend;
mod cut;
mod experts;
mod products;
mod project;
