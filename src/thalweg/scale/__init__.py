"""Where and how arithmetic runs: devices and exactness today."""
