"""The exercises, about one file per lesson."""
