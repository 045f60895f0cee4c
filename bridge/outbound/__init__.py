"""From outcomes to cattle's replies."""
