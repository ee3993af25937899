"""Blocks of rows to ClickHouse, Kafka's records and files. Decides nothing about what a row says."""
