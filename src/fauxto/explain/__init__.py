"""Maps of where a detector looks: for one image (cam) and for many (gallery)."""
