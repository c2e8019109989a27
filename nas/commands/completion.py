"""Print a completion script for your shell.

  bash:  source <(nas completion bash)        zsh:  source <(nas completion zsh)
  fish:  nas completion fish | source
"""

from __future__ import annotations

import argparse

HELP = "shell completion for bash, zsh or fish"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``nas completion``."""
    parser.add_argument("shell", choices=("bash", "zsh", "fish"), help="which shell")


def run(args: argparse.Namespace) -> int:
    """Print the script, which is generated from the parser."""
    words = _words()
    if args.shell == "fish":
        print(_fish(words))
    else:
        print(_bash(words, args.shell))
    return 0


def _words() -> dict[str, list[str]]:
    """Option strings and positional choices a command."""
    from nas.cli import build_parser

    subparsers = next(a for a in build_parser()._actions if isinstance(a, argparse._SubParsersAction))
    words: dict[str, list[str]] = {}
    for name, parser in subparsers.choices.items():
        options = [option for action in parser._actions for option in action.option_strings if option.startswith("--")]
        positional = [action.choices for action in parser._actions if not action.option_strings and action.choices]
        words[name] = options + [str(choice) for choices in positional for choice in choices]
    return words


def _bash(words: dict[str, list[str]], shell: str) -> str:
    cases = "\n".join(f'    {name}) words="{" ".join(options)}" ;;' for name, options in words.items())
    head = "autoload -U +X bashcompinit && bashcompinit\n" if shell == "zsh" else ""
    return f"""{head}_nas() {{
  local words
  if [ "$COMP_CWORD" -eq 1 ]; then
    words="{" ".join(words)} --help --version"
  else
    case "${{COMP_WORDS[1]}}" in
{cases}
    esac
  fi
  COMPREPLY=($(compgen -W "$words" -- "${{COMP_WORDS[COMP_CWORD]}}"))
}}
complete -o default -F _nas nas"""


def _fish(words: dict[str, list[str]]) -> str:
    lines = [f"complete -c nas -n __fish_use_subcommand -a '{' '.join(words)}'"]
    for name, options in words.items():
        for option in options:
            flag = f"-l {option[2:]}" if option.startswith("--") else f"-a {option}"
            lines.append(f"complete -c nas -n '__fish_seen_subcommand_from {name}' {flag}")
    return "\n".join(lines)
