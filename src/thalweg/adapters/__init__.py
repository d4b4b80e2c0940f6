"""Health, guard and record in other tools' loops: a callback each, in one line."""
