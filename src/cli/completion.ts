import { UsageError } from '../config/loader.ts';
import { flagName, SCHEMA } from '../config/schema.ts';
import type { Setting } from '../config/setting.ts';
import { didYouMean } from '../util/similar-words.ts';
import { COMMAND_NAMES, COMMANDS, type CommandName, SHELLS } from './commands.ts';

/** A flag as a shell completes it. */
interface Flag {
  /** `--output`, `-o`. */
  readonly names: readonly string[];
  readonly doc: string;
  /** The values that follow; `files` for file names, `any` for other values, undefined for a flag without a value. */
  readonly values: readonly string[] | 'files' | 'any' | undefined;
}

/** Writes the completion script of a shell. @throws UsageError for another shell */
export function completionScript(shell: string | undefined): string {
  const write = SCRIPTS[shell ?? ''];
  if (write !== undefined) return write();
  const given = shell === undefined ? 'The shell is missing.' : `Unknown shell ${shell}.`;
  throw new UsageError([`${given}${didYouMean(shell ?? '', SHELLS)} Shells: ${SHELLS.join(', ')}.`]);
}

const SCRIPTS: Readonly<Record<string, () => string>> = { bash, zsh, fish };

/** Settings with these endings in their names take a path. */
const PATHS = /(?:File|Dir)$/;

/** The flags of every command. */
function sharedFlags(): Flag[] {
  const settings = Object.entries<Setting<unknown>>(SCHEMA).map(([name, { type, doc }]): Flag => {
    const choices = type.placeholder.split('|').filter((choice) => /^[a-z]/.test(choice));
    const isChoice = choices.length > 0 && choices.length === type.placeholder.split('|').length;
    const [first = ''] = /^.*?\.(?= [A-Z]|$)/.exec(doc) ?? [];
    return {
      names: [`--${flagName(name)}`],
      doc: first.replace(/\.$/, ''),
      values: isChoice ? choices : PATHS.test(name) || name === 'policy' ? 'files' : 'any',
    };
  });
  return [
    ...settings,
    { names: ['--config'], doc: 'The TOML file', values: 'files' },
    { names: ['--help', '-h'], doc: 'prints the help of the command', values: undefined },
  ];
}

function ownFlags(name: CommandName): Flag[] {
  return Object.entries(COMMANDS[name].options).map(([flag, { short, value, completes, doc }]) => ({
    names: short === undefined ? [`--${flag}`] : [`--${flag}`, `-${short}`],
    doc,
    values: value === undefined ? undefined : (completes ?? 'any'),
  }));
}

/** Returns the words that may follow a command. */
function wordsAfter(name: CommandName): readonly string[] {
  if (name === 'help') return [...COMMAND_NAMES, 'settings', ...Object.keys(SCHEMA).map(flagName)];
  if (name === 'completion') return SHELLS;
  return Object.keys(COMMANDS[name].actions ?? {});
}

/** Groups all flags by the values that follow them. Every flag has the same values in every command. */
function byValues(): Map<string, { readonly flags: string[]; readonly values: Flag['values'] }> {
  const groups = new Map<string, { readonly flags: string[]; readonly values: Flag['values'] }>();
  for (const { names, values } of [...COMMAND_NAMES.flatMap(ownFlags), ...sharedFlags()]) {
    if (values === undefined) continue;
    const key = `${values}`;
    const { flags } = groups.get(key) ?? { flags: [] };
    groups.set(key, { flags: [...new Set([...flags, ...names])], values });
  }
  return groups;
}

function bash(): string {
  const values = [...byValues().values()].map(({ flags, values: kind }) => {
    // Without a reply, bash completes file names itself: it quotes them, and it knows ~ and variables.
    const reply =
      kind === 'files'
        ? 'compopt -o default 2> /dev/null; '
        : kind === 'any'
          ? ''
          : `COMPREPLY=($(compgen -W '${[kind].flat().join(' ')}' -- "$cur")); `;
    return `    ${flags.join('|')}) ${reply}return ;;`;
  });
  const flags = COMMAND_NAMES.map((name) => {
    const names = ownFlags(name).flatMap((flag) => flag.names);
    const words = wordsAfter(name).join(' ');
    return `    ${name}) flags='${names.join(' ')}' words='${words}' ;;`;
  });
  return `# Completion of dockerproxy for bash: eval "$(dockerproxy completion bash)"
_dockerproxy() {
  local cur prev command= flags= words= i IFS=$' \\t\\n'
  cur=\${COMP_WORDS[COMP_CWORD]} prev=\${COMP_WORDS[COMP_CWORD - 1]}
  # bash 4 splits --flag=value into three words, and bash 3 does not.
  [[ $cur == = ]] && cur=
  [[ $prev == = ]] && prev=\${COMP_WORDS[COMP_CWORD - 2]}
  [[ $cur == --*=* ]] && prev=\${cur%%=*} cur=\${cur#*=}
  for ((i = 1; i < COMP_CWORD; i++)); do
    case \${COMP_WORDS[i]} in
    ${COMMAND_NAMES.join('|')}) command=\${COMP_WORDS[i]}; break ;;
    esac
  done
  case $prev in
${values.join('\n')}
  esac
  case $command in
${flags.join('\n')}
    *) words='${[...COMMAND_NAMES, '--version'].join(' ')}' ;;
  esac
  [[ $cur == -* ]] && words="$words $flags ${sharedFlags()
    .flatMap(({ names }) => names)
    .join(' ')}"
  COMPREPLY=($(compgen -W "$words" -- "$cur"))
}
# bash 3, which macOS has, lacks compopt and completes file names after every flag.
if ((BASH_VERSINFO[0] < 4)); then
  complete -o default -F _dockerproxy dockerproxy
else
  complete -F _dockerproxy dockerproxy
fi
`;
}

function zsh(): string {
  const described = (flags: readonly Flag[]): string =>
    flags.flatMap(({ names, doc }) => names.map((name) => quoted(`${name}:${doc}`))).join(' ');
  const values = [...byValues().values()].map(({ flags, values: kind }) => {
    const reply =
      kind === 'files' ? '_files' : kind === 'any' ? ':' : `compadd -- ${[kind].flat().join(' ')}`;
    return `    ${flags.join('|')}) ${reply}; return ;;`;
  });
  const commands = COMMAND_NAMES.map((name) => quoted(`${name}:${COMMANDS[name].summary}`)).join(' ');
  const cases = COMMAND_NAMES.map(
    (name) => `    ${name}) own=(${described(ownFlags(name))}) after=(${wordsAfter(name).join(' ')}) ;;`,
  );
  return `#compdef dockerproxy
# Completion of dockerproxy for zsh: source <(dockerproxy completion zsh)
_dockerproxy() {
  local command= word prev
  local -a commands own after shared
  commands=(${commands})
  shared=(${described(sharedFlags())})
  for word in \${words[2,CURRENT-1]}; do
    case $word in
    ${COMMAND_NAMES.join('|')}) command=$word; break ;;
    esac
  done
  prev=\${words[CURRENT-1]}
  # --flag=value is one word.
  if [[ $PREFIX == --*=* ]]; then
    prev=\${PREFIX%%=*}
    compset -P '*='
  fi
  case $prev in
${values.join('\n')}
  esac
  case $command in
${cases.join('\n')}
    *) _describe command commands ;;
  esac
  if [[ $PREFIX == -* ]]; then
    _describe -o flag own
    _describe -o flag shared
  elif ((\${#after})); then
    compadd -- $after
  fi
}
if [[ \${funcstack[1]} == _dockerproxy ]]; then _dockerproxy "$@"; else compdef _dockerproxy dockerproxy; fi
`;
}

function fish(): string {
  const line = ({ names, doc, values }: Flag, condition: string): string => {
    const flags = names.map((name) =>
      name.startsWith('--') ? `-l ${name.slice(2)}` : `-s ${name.slice(1)}`,
    );
    const takes =
      values === undefined
        ? ''
        : values === 'files'
          ? ' -rF'
          : values === 'any'
            ? ' -x'
            : ` -xa ${quoted([values].flat().join(' '))}`;
    return `complete -c dockerproxy${condition} ${flags.join(' ')}${takes} -d ${quoted(doc)}`;
  };
  const words = COMMAND_NAMES.flatMap((name) => {
    const after = wordsAfter(name).join(' ');
    const isAfter = ` -n '__fish_seen_subcommand_from ${name}'`;
    return [
      `complete -c dockerproxy -n __fish_use_subcommand -a ${name} -d ${quoted(COMMANDS[name].summary)}`,
      ...(after === '' ? [] : [`complete -c dockerproxy${isAfter} -a ${quoted(after)}`]),
      ...ownFlags(name).map((flag) => line(flag, isAfter)),
    ];
  });
  return `# Completion of dockerproxy for fish: dockerproxy completion fish | source
complete -c dockerproxy -f
${[...words, ...sharedFlags().map((flag) => line(flag, ''))].join('\n')}
complete -c dockerproxy -n __fish_use_subcommand -l version -d 'prints the version'
`;
}

/** Quotes a text for all three shells. An apostrophe becomes a typographic one, because each shell escapes it differently. */
function quoted(text: string): string {
  return `'${text.replaceAll("'", '’')}'`;
}
