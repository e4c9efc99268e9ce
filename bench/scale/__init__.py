"""How the cost of metadata grows with what is stored: tables of millions of files, made through ``apply``."""
