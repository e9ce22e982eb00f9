//! Architectures as data for Tokenmill: config and weight names to a Program, and the Backend trait.
