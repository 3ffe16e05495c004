"""Small tools that know nothing of images, models or databases."""
