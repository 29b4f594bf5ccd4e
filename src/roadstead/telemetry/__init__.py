"""What the program tells about itself: events inside, metrics, logs and health outside."""
