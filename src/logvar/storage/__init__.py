"""Files: atomic writes, weights as safetensors, run folders. All are read without pickle."""
