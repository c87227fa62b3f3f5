"""Serves a scenario as an OpenAI-compatible endpoint: the reference engine in real time, its calls sent from outside over HTTP."""
