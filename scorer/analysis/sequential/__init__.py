"""Sequential decisions: which system is best, after as few items as the wanted confidence allows."""
