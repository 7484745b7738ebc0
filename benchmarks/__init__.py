"""What the book's training costs, measured: run with `make bench`, shown on the book's page on speed."""
