"""What several test files share: frames, models, references, comparisons."""
