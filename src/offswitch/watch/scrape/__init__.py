"""Scraping: reading what Prometheus' exporters show."""
