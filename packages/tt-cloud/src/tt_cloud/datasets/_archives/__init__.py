"""How archives are read and their members written."""
