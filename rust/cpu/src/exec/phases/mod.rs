//! The phases that are split over outputs, heads or items. Threads split outputs and items, never a sum.

mod attend;
mod products;
mod project;
