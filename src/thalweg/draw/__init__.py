"""From a record or a result to what people see: the report, the summary, the progress."""
