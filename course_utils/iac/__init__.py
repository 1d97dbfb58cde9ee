"""Terraform and Kubernetes code, read by parsers and held against what is known.

`parsing` finds the code of an answer and parses it within limits, `schema` says which
names exist, `findings` compares the two; `rewards` makes shares of it.
"""
