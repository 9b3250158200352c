"""Fuzzing by hand: thousands of damaged models, data and settings through the program.

    python -m tests.fuzz bytes --cases 5000 --seed 0

Kinds are `bytes` (files of models with a few bytes changed), `protobuf` (models whose fields are
changed, so that they still parse), `files` (data, labels, gates, recipes and tables for images) and
`archive` (archives with other numbers, trees and codes, whose checksums are made anew).
A case is its kind, seed and number: `--only 17` runs that one again and keeps its folder.

A case is at fault if the program ends in anything but a documented exit code with one sentence, if
it hangs or dies, or if an exact pass changes what ONNX Runtime computes; of archives, if another
model comes out, or if ways to decode them differ.
"""
