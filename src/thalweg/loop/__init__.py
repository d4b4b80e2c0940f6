"""The descent: order, batches, one step, evaluation, stopping, and the iterator of them all."""
