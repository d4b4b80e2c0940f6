"""What code that takes a torch.optim.Optimizer relies on: every check for every optimizer."""
