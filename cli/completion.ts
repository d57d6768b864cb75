import type { Command } from 'commander';

export const SHELLS = ['bash', 'zsh', 'fish', 'powershell'] as const;
export type Shell = (typeof SHELLS)[number];

/** What can follow each command path: sub-commands, then flags. The root's path is empty. */
interface Step {
  readonly path: readonly string[];
  readonly words: readonly string[];
}

/** A completion script made from the command tree. It holds all words, so that completing asks no daemon. */
export function completionScript(shell: Shell, program: Command): string {
  const steps = stepsOf(program, [], longFlags(program));
  switch (shell) {
    case 'bash':
      return bash(steps);
    case 'zsh':
      return `autoload -U +X compinit && compinit\nautoload -U +X bashcompinit && bashcompinit\n${bash(steps)}`;
    case 'fish':
      return fish(steps);
    case 'powershell':
      return powershell(steps);
  }
}

function stepsOf(command: Command, path: readonly string[], globals: readonly string[]): Step[] {
  const subcommands = command.commands.map((sub) => sub.name()).sort();
  const flags = [...new Set([...longFlags(command), ...globals])].sort();
  const shells = command.name() === 'completion' ? SHELLS : [];
  const step = { path, words: [...subcommands, ...shells, ...flags, '--help'] };
  const names = command.commands.map((sub) => [sub, [sub.name(), ...sub.aliases()]] as const);
  return [step, ...names.flatMap(([sub, words]) => words.flatMap((word) => stepsOf(sub, [...path, word], globals)))];
}

function longFlags(command: Command): string[] {
  return command.options.flatMap(({ long }) => (long ? [long] : []));
}

/** Words that are a step of some path; flags and their values are not. */
function bash(steps: readonly Step[]): string {
  const paths = steps.filter(({ path }) => path.length > 0).map(({ path }) => `"${path.join(' ')}"`);
  const cases = steps.map(({ path, words }) => `    "${path.join(' ')}") words="${words.join(' ')}" ;;`);
  return `# completion for loxicmd
_loxicmd() {
  local current="\${COMP_WORDS[COMP_CWORD]}" path="" next word words=""
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    next="\${path:+$path }$word"
    case "$next" in
    ${paths.join('|')}) path="$next" ;;
    esac
  done
  case "$path" in
${cases.join('\n')}
  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}
complete -o default -F _loxicmd loxicmd
`;
}

function fish(steps: readonly Step[]): string {
  const lines = steps.map(({ path, words }) => {
    const condition =
      path.length === 0
        ? '__fish_use_subcommand'
        : path.map((word) => `__fish_seen_subcommand_from ${word}`).join('; and ');
    return `complete -c loxicmd -f -n '${condition}' -a '${words.join(' ')}'`;
  });
  return `# completion for loxicmd\n${lines.join('\n')}\n`;
}

function powershell(steps: readonly Step[]): string {
  const table = steps.map(({ path, words }) => `    '${path.join(' ')}' = '${words.join(' ')}'`);
  return `# completion for loxicmd
Register-ArgumentCompleter -Native -CommandName loxicmd -ScriptBlock {
  param($wordToComplete, $commandAst, $cursorPosition)
  $words = @{
${table.join('\n')}
  }
  $path = ''
  foreach ($element in $commandAst.CommandElements | Select-Object -Skip 1) {
    $next = ("$path " + $element.ToString()).Trim()
    if ($words.ContainsKey($next)) { $path = $next }
  }
  $words[$path] -split ' ' | Where-Object { $_ -like "$wordToComplete*" } |
    ForEach-Object { [System.Management.Automation.CompletionResult]::new($_) }
}
`;
}
