"""The furniture of the end-to-end tests: one noun a file, standard library and Debian packages only."""
