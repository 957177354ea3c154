"""Whatever composes stages, bench, serve and report into one verb."""
