"""Where and how arithmetic runs: device, exactness, and what is checked about the machine."""
