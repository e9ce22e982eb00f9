"""What a person sees of an explanation: tables on a terminal, one HTML page."""
