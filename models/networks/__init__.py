"""Networks, a module a family."""
