//! A target that must fail: a fuzzer that does not find it within seconds is not trusted.

/// Panics on four letters, which coverage finds one after another and blind guessing does not.
pub fn run(data: &[u8]) {
    let mut depth = 0;
    for (index, &letter) in b"mill".iter().enumerate() {
        if data.get(index) != Some(&letter) {
            break;
        }
        depth += 1;
    }
    assert!(depth < 4, "the canary was found");
}
