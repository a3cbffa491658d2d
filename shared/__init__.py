"""The agreements between two processes. Imports the standard library and libraries only, never a
service.
"""
