"""Iterators of items: folders, manifests and, later, SQL tables."""
