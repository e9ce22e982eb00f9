//! The Python extension module of Tokenmill: converts arguments, releases the GIL, converts back.
