"""How good a bundle is: metrics, baselines without learning, probes and the report."""
