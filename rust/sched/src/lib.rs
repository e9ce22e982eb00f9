//! Pure scheduling decisions of Tokenmill: block pool, prefix cache, queue and step plan.
