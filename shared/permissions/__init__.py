"""The judgement of permission requests without a person: rules, what a tool call reaches, and protected paths.

Everything here is a pure function of its arguments, except `reach_of`, which follows symbolic links on the machine
that runs the tool. Whatever cannot be understood for certain is left to a person.
"""
