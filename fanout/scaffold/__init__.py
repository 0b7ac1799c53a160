"""Writes the folder of a new consumer, ready to run and made to be edited, from the templates beside this file."""
