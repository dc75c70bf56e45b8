"""Where and how knowledge-distillation runs are made, kept and compared."""
