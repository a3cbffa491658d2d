"""Stored responses, as OpenAI's clients expect of `store`, `previous_response_id` and
conversations.

A stored response holds only its own new items and the ids of the responses before it. `memory`
keeps stored responses in Redis, per client token; `continuation` completes a request that names
them, before any translation, so every provider gets the whole conversation and none has to store
it; `conversations` are named lists of items.
"""
