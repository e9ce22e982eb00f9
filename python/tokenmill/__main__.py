"""`python -m tokenmill` is the command `tokenmill`."""

try:
    from tokenmill.cli import main
except KeyboardInterrupt:
    raise SystemExit(130) from None

raise SystemExit(main())
