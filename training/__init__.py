"""Training and measuring models: its options and recipes lie here, the rest in packages.

Imports no engine, sinks, history, report or review.
"""

__all__ = ["options", "recipes"]
