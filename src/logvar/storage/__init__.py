"""Files: atomic writes, weights as safetensors, the run folder. Reads and writes parts only."""
