import { UsageError } from '../config/loader.ts';
import { mask } from '../config/mask.ts';
import { environmentName, fileKey, flagName, SCHEMA, SECTIONS, type SettingName } from '../config/schema.ts';
import type { Setting } from '../config/setting.ts';
import { quote } from '../errors.ts';
import { didYouMean } from '../util/similar-words.ts';
import type { CommandOption } from './command-options.ts';
import { COMMAND_NAMES, COMMANDS, type CommandName, isCommand } from './commands.ts';
import { describe, wrap } from './wrap.ts';

const SETTINGS = Object.entries(SCHEMA) as readonly [SettingName, Setting<unknown>][];
/** The flags of settings, by the names in capitals that texts write. */
const FLAGS = new Map(SETTINGS.map(([name]) => [fileKey(name).toUpperCase(), `--${flagName(name)}`]));
/** Names of settings that texts also write with another meaning. */
const WORDS: ReadonlySet<string> = new Set(['HOST', 'PORT', 'TLS']);
const SETTINGS_TOPIC = 'settings';
const CONFIG_DOC =
  'The TOML file. Default: /etc/dockerproxy/dockerproxy.toml for root, otherwise ~/.config/dockerproxy/dockerproxy.toml.';
const PRECEDENCE =
  'Flags override environment variables, which override the file. Settings that are not set have their defaults.';

/** Commands that print a text and read no settings. */
const TAKES_NO_FLAGS: readonly CommandName[] = ['completion', 'help'];
const ALL_SETTINGS = 'All settings are flags of this command: dockerproxy help settings';

/**
 * Writes the help about a topic.
 *
 * @param topic a command, `settings`, or a setting in any spelling; undefined for the overview
 * @param columns the width of the text
 * @throws UsageError for an unknown topic
 */
export function helpText(topic: string | undefined, columns: number): string {
  if (topic === undefined) return overview(columns);
  if (isCommand(topic)) return commandHelp(topic, columns);
  if (topic === SETTINGS_TOPIC) return settingsHelp(columns);
  const key = topic
    .replace(/^-+/, '')
    .replace(/^DOCKERPROXY_/i, '')
    .replaceAll('-', '_')
    .toLowerCase();
  const setting = SETTINGS.find(([name]) => fileKey(name) === key || name === topic);
  if (setting !== undefined) return describeSetting(setting, columns);
  if (key === 'config') return describeConfigFlag(columns);
  const topics = [...COMMAND_NAMES, SETTINGS_TOPIC, ...SETTINGS.map(([name]) => flagName(name))];
  throw new UsageError([
    `${quote(topic)} is neither a command nor a setting.${didYouMean(topic.replace(/^-+/, ''), topics)}`,
  ]);
}

/** Creates the error for a word that is not a command. */
export function unknownCommand(word: string): UsageError {
  // The word may be a URL with credentials.
  return new UsageError([`${quote(`${mask(word)}`)} is not a command.${didYouMean(word, COMMAND_NAMES)}`]);
}

function overview(columns: number): string {
  const commands = COMMAND_NAMES.map((name) => describe(name, COMMANDS[name].summary, columns));
  return `DockerProxy: any container image as one tar file

Usage: dockerproxy [COMMAND] [FLAG…]

${commands.join('')}
${paragraph(`Settings are flags of every command. ${PRECEDENCE} To list them: dockerproxy help settings`, columns)}
${describe('-h, --help', 'prints this help, or the help of a command', columns)}${describe('--version', 'prints the version', columns)}`;
}

function commandHelp(name: CommandName, columns: number): string {
  const { summary, words, actions = {}, options, settings, examples } = COMMANDS[name];
  const usage = ['dockerproxy', name, ...(TAKES_NO_FLAGS.includes(name) ? [] : ['[FLAG…]']), words ?? []]
    .flat()
    .join(' ');
  const done = Object.entries(actions).map(([action, doc]) => describe(action, doc, columns));
  const flags = Object.entries(options).map(([flag, option]) => describeOption(flag, option, columns));
  const listed = SETTINGS.filter(([setting]) => settings.includes(setting));
  const rows = listed.map((setting) => describeBriefly(setting, columns));
  return [
    `Usage: ${usage}\n`,
    paragraph(`${summary[0]?.toUpperCase()}${summary.slice(1)}.`, columns),
    ...(done.length === 0 ? [] : [done.join('')]),
    ...(flags.length === 0 ? [] : [flags.join('')]),
    ...(rows.length === 0 ? [] : [rows.join('')]),
    ...(TAKES_NO_FLAGS.includes(name) ? [] : [paragraph(ALL_SETTINGS, columns)]),
    `Examples:\n${examples.map((example) => `  dockerproxy ${example}\n`).join('')}`,
  ].join('\n');
}

function describeOption(name: string, { short, value, doc }: CommandOption, columns: number): string {
  const flag = `${short === undefined ? '' : `-${short}, `}--${name}${value === undefined ? '' : ` ${value}`}`;
  return describe(flag, doc, columns);
}

/** Describes a setting by its first sentence and its default. */
function describeBriefly(
  [name, { type, default: standard, doc }]: (typeof SETTINGS)[number],
  columns: number,
) {
  const text = withFlags(doc);
  const [first = ''] = /^.*?\.(?= [A-Z]|$)/.exec(text) ?? [];
  const usual = standard ? ` Default: ${standard}.` : (/ Default: .*?\.(?= [A-Z]|$)/.exec(text)?.[0] ?? '');
  return describe(`--${flagName(name)} ${type.placeholder}`, `${first}${usual}`, columns);
}

function settingsHelp(columns: number): string {
  const sections = SECTIONS.map(([title, settings]) => {
    const entries = Object.entries(settings) as typeof SETTINGS;
    return `${title}:\n\n${entries.map((setting) => describeSetting(setting, columns)).join('')}`;
  });
  return `${paragraph(PRECEDENCE, columns)}\n${sections.join('\n')}\nThe file:\n\n${describeConfigFlag(columns)}`;
}

function describeSetting(
  [name, { type, default: standard, doc, reloads }]: (typeof SETTINGS)[number],
  columns: number,
): string {
  const more = `${standard ? ` Default: ${standard}.` : ''}${reloads ? ' Reloaded on SIGHUP.' : ''}`;
  return entry(
    `--${flagName(name)} ${type.placeholder}`,
    [`${withFlags(doc)}${more}`, `${environmentName(name)}, or ${fileKey(name)} in the file`],
    columns,
  );
}

/** Names settings in a text by their flags. */
function withFlags(text: string): string {
  return text.replace(/\b[A-Z]+(?:_[A-Z]+)*\b/g, (word) =>
    WORDS.has(word) ? word : (FLAGS.get(word) ?? word),
  );
}

function describeConfigFlag(columns: number): string {
  return entry('--config FILE', [CONFIG_DOC, environmentName('config')], columns);
}

function entry(term: string, texts: readonly string[], columns: number): string {
  const lines = texts.flatMap((text) => wrap(text, columns - 6));
  return `  ${term}\n${lines.map((line) => `      ${line}\n`).join('')}`;
}

function paragraph(text: string, columns: number): string {
  return `${wrap(text, columns).join('\n')}\n`;
}
