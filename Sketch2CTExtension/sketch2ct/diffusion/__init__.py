"""Noise processes and samplers. A sampler takes any callable and imports no network."""
