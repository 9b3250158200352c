"""Tests of ocompress."""
