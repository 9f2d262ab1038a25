"""Voice files in and out: read without executing anything, described, written."""
