"""The stability guard: blocks of drained steps in, an action out; `ladder.py` has its rungs."""
