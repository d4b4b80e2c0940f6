"""Many short training runs, healthy and with a planted fault, as the columns that a log holds."""
