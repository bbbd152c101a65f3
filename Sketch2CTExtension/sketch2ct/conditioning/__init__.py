"""What a request says, as network inputs: strokes in the 3D grid, sketch tokens, text tokens, and their fusion."""
