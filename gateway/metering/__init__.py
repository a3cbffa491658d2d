"""The measurements of a gateway: records, the spool of unsent records, and quota windows."""
