"""Result packages."""
