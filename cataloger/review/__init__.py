"""The review application: people look at answers in a browser and have the last word. Needs the extra `review`."""
