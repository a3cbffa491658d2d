"""Tables of programs by name: the programs that run other programs, and the programs that touch
only the files they name.

A program in no table here may do anything.
"""

from __future__ import annotations


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Words a shell reads as syntax when they begin a command.
KEYWORDS = _names(
    "if then else elif fi for while until do done case esac select function time coproc in"
)

SHELLS = _names("sh bash dash zsh ksh mksh fish csh tcsh ash busybox pwsh")

# Programs that run code given in an argument or on their input.
INTERPRETERS = SHELLS | _names(
    """python pypy ipython node nodejs deno bun perl ruby irb php lua awk gawk mawk osascript tclsh
    rscript julia
    eval source ."""
)

# Commands of a shell that change how it reads what follows.
SHELL_SWITCHES = _names(
    "eval source . shopt setopt set alias exec trap enable hash export declare typeset unalias"
)

# Programs whose words are another command or a script: what they run stands elsewhere.
RUNNERS = INTERPRETERS | _names(
    """sudo doas su env xargs parallel find fd ssh nohup nice ionice timeout watch script strace
    ltrace gdb exec
    command builtin trap alias setsid stdbuf unshare chroot nsenter systemd-run flock entr tmux
    screen expect at batch
    npx uvx pipx bunx npm pnpm yarn uv pip poetry hatch cargo go docker podman kubectl make gmake
    just task ninja
    cmake tox nox pytest git gh vi vim nvim emacs ed ex less more man sed tar rsync"""
)

# Programs that touch only the files their words name, each with the option letters that change
# this.
FILE_READING_PROGRAMS = {
    "cat": "",
    "head": "",
    "tail": "",
    "wc": "",
    "ls": "R",
    "stat": "",
    "nl": "",
}
FILE_WRITING_PROGRAMS = {"touch": "", "mkdir": ""}
# Those of them that touch the working folder when they name no file.
WORKING_FOLDER_PROGRAMS = _names("ls")
# Programs that touch no file, whatever their words are.
HARMLESS_PROGRAMS = _names(
    "basename dirname echo false id nproc printf pwd seq sleep true uname whoami which"
)

# Programs that read the files they name and never write; options aside that the second table names.
READING_PROGRAMS = HARMLESS_PROGRAMS | _names(
    """cat head tail wc ls stat nl cd grep egrep fgrep rg ag ack cut tr diff cmp file du tree less
    more strings xxd
    hexdump od base64 md5sum sha1sum sha256sum cksum jq test [ realpath readlink"""
)
# Programs that look at the names of files, not into them, when no option letter of the table is
# given.
NAME_PROGRAMS = {
    "cd": "",
    "ls": "R",
    "stat": "",
    "test": "",
    "[": "",
    "realpath": "",
    "mkdir": "",
    "touch": "",
}
# Programs that read a whole folder, and the working folder when they name none.
FOLDER_WALKERS = _names("rg ag ack find fd tree tar zip rsync du")

# Subcommands of git that no repository can give another meaning: git ignores an alias of the same
# name.
GIT_SUBCOMMANDS = _names(
    """add am apply archive bisect blame branch checkout cherry-pick clean clone commit config
    describe diff fetch
    grep init log ls-files merge mv pull push rebase reflog remote reset restore rev-parse revert rm
    shortlog show
    stash status submodule switch tag worktree"""
)
# Subcommands that only report, whatever options follow them.
REPORTING_SUBCOMMANDS = {"git": _names("status rev-parse describe ls-files")}
