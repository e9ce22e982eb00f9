//! The float32 oracle backend of Tokenmill, in candle: obviously right, slow.
