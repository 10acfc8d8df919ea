"""Training: the state, the pure step, the compiled chunk of steps, and the loop around them."""
