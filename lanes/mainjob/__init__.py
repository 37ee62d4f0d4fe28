"""The main job of `make run`: the items it sends, and the report it prints."""
