"""The parts of `benchmarks.same_model`: what is trained, and the peers that train it, a file each.

A peer is a module with `train(posed) -> nn.Module`: the network of a `Posed`, trained as the
library's users would, with its best weights by validation loss.
"""
