"""Training of the network on labelled images, and the measurement of what came out."""
