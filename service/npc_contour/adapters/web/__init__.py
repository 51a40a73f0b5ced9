"""The page for people: work list, a case's timeline, review of contours over the images, settings, rules."""
