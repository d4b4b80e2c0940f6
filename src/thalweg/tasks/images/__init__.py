"""Pictures in files: found, decoded and kept, shifted by counted draws, shown in the report."""
