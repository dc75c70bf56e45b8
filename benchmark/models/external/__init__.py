"""Networks of torchvision and timm, wrapped so that they return ``Features``."""
