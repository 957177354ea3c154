"""The shapes of OpenAI's HTTP interface that edgellm speaks, with the extensions that other local servers share.

One file an endpoint; `base` and `settings` hold what they share.
"""
