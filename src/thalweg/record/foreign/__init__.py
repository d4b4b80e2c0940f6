"""Other tools' logs as columns: what a run wrote down, whoever wrote it.

for path in find_logs("runs"):
    for log in read_logs(path, str(path), Columns()):
        print(log.tool, len(log.series["loss"]), log.settings)
"""

from thalweg.record.foreign.find import exists, find_logs
from thalweg.record.foreign.log import Log, Series
from thalweg.record.foreign.open import read_logs, read_text
from thalweg.record.foreign.parts import Columns

__all__ = ["Columns", "Log", "Series", "exists", "find_logs", "read_logs", "read_text"]
