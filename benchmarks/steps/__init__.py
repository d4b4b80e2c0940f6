"""The parts of `benchmarks.optimizers`: clock, tensors, contenders, peers, and the rows."""
