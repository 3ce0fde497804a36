import { environmentName, fileKey, flagName, SCHEMA, SECTIONS, type SettingName } from './schema.ts';
import type { Setting } from './setting.ts';
import { inlineToml } from './toml.ts';

/** Generates the reference of all settings in Markdown. `npm run docs` writes it. */
export function referencePage(): string {
  const sections = eachSection((title, names) => {
    const settings = names.map((name) => {
      const { type, default: standard, doc, reloads }: Setting<unknown> = SCHEMA[name];
      const names = `\`--${flagName(name)}\`, \`${environmentName(name)}\`, \`${fileKey(name)}\``;
      const value = `Value: \`${type.placeholder}\`.${standard ? ` Default: \`${standard}\`.` : ''}${reloads ? ' Reloaded on SIGHUP.' : ''}`;
      return `### ${fileKey(name)}\n\n${names}\n\n${doc} ${value}\n`;
    });
    return `## ${title}\n\n${settings.join('\n')}`;
  });
  return `# Settings

To print the settings in effect, each with its source:

\`\`\`sh
dockerproxy check-config
\`\`\`

\`npm run docs\` generates this page from the schema; \`dockerproxy help settings\` has the same content.

Set each setting by a flag, an environment variable, or a key of a TOML file ([example](../deploy/dockerproxy.example.toml)). Flags override environment variables, which override the file. Settings that are not set have their defaults. Separate the entries of a list with commas. The file also takes arrays.

The file is \`/etc/dockerproxy/dockerproxy.toml\` for root and \`~/.config/dockerproxy/dockerproxy.toml\` for other users. \`--config\` or \`DOCKERPROXY_CONFIG\` names another file.

${sections.join('\n')}`;
}

/** Generates a file with every setting as a comment, with its default or an example. `npm run docs` writes it. */
export function exampleFile(): string {
  const sections = eachSection((title, names) => {
    const settings = names.map((name) => {
      const { doc, default: standard, example, fileExample }: Setting<unknown> = SCHEMA[name];
      const value =
        fileExample === undefined ? tomlValue(name, example ?? standard ?? '') : inlineToml(fileExample);
      return `# ${doc}\n# ${fileKey(name)} = ${value}\n`;
    });
    return `## ${title}\n\n${settings.join('\n')}`;
  });
  return `# Settings of DockerProxy. All are optional. Each line shows the default or, for settings without a default, an example.
# Root's service reads /etc/dockerproxy/dockerproxy.toml. \`dockerproxy check-config\` prints the settings in effect.

${sections.join('\n')}`;
}

function eachSection(write: (title: string, names: readonly SettingName[]) => string): string[] {
  return SECTIONS.map(([title, settings]) => write(title, Object.keys(settings) as SettingName[]));
}

/** Writes a value as TOML: lists as arrays, numbers and booleans without quotes. */
function tomlValue(name: SettingName, written: string): string {
  const isList = SCHEMA[name].type.placeholder.endsWith(',…');
  return inlineToml(isList ? written.split(',') : (tomlScalars.get(written) ?? number(written) ?? written));
}

const tomlScalars = new Map([
  ['true', true],
  ['false', false],
]);

function number(written: string): number | undefined {
  return /^\d+$/.test(written) ? Number(written) : undefined;
}
