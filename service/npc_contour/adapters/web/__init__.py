"""The page for people: work list, a case's story, review of contours over the images, settings, rules."""
