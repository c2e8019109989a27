"""Modules that several families share, or that one family needs beside its own file."""
