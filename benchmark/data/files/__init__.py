"""How files become images: download, check, decode once, pack, read."""
