"""Speed and memory: this system's stages, the machine's peak, and networks of the published sizes beside them."""
