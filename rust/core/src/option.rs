//! The option table: one definition per option.
