"""The metadata server: names, chunks, places and node health; never file bytes."""
