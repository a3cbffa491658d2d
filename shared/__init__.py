"""What two processes must agree on. Imports the standard library and libraries only, never a service."""
