"""The agreements between two processes. Imports the standard library and libraries only, never a
service.
"""

from shared.runtime.lean_imports import keep_imports_lean

# Here, because this package is imported before the libraries that its modules use.
keep_imports_lean()
