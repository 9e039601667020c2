"""The operator's file in, typed and frozen Settings out; every error with its place."""
