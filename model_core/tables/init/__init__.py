"""From a folder of CSV or parquet files to a RelBench-v3 dataset: read, propose, write."""
