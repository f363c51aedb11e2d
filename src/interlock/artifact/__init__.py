"""The files of a version: which are let in, how they are listed, cut and written."""
