"""Measurements of thalweg beside its peers: each number made by one command, in one process."""
