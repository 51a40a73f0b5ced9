"""What several test files share: peers nobody here wrote, tiny series, fakes."""
