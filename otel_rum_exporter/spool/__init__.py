"""The durable queue on SQLite: what waits, which file is whose, dead letters. `store` joins it with the pipeline."""
