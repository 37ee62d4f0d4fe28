"""Arriving items: admission, files, amendments, erasure and the stream's watermark."""
