"""The judgement of permission requests without a person: rules, what a tool call reaches, and
protected paths.

The order of use, for one request:

- Where the tool runs, `reach.reach_of` resolves the links; the result travels as
  `PermissionAsk.reach`.
- `protected.ProtectedPaths.of(settings, start_folder, home)` is made once. A reason from
  `touched_by` denies the request. A reason from `may_be_touched_by` means that no allow rule may
  decide, built-in or not: a person does.
- `rules.judge` gives the answer of the rules: deny, allow, or ask a person.
- `suggestions.suggest` gives the rule that a person may answer with; it is computed once, when the
  request opens.

An allow rule with `under` covers Read, Write, Edit, Grep, Glob and LS in that folder, and Bash for
the programs in `programs.FILE_READING_PROGRAMS` and `FILE_WRITING_PROGRAMS`, which touch only the
files they name; the second table writes. `places.default_workspace` stays open inside the protected
data folder. `rules.rule_problems` names the rules that never apply.

Everything here is a pure function of its arguments, except that links are followed where a function
says so. Whatever cannot be understood for certain is left to a person.
"""
