"""Items as they arrive: admission, files, amendments, erasure, the stream's watermark."""
