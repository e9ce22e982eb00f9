"""Stand-ins for what is outside the Python package: a package index, a wheel, an engine."""
