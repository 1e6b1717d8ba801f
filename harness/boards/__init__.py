"""Values on disk: boards and protocols, the trials they ask for, the records of these. Pydantic models; no torch."""
