"""Vertex AI Pipelines: the compiled pipeline as a job or a schedule of Google's service."""
