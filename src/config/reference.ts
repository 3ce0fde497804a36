import {
  environmentName,
  fileKey,
  flagName,
  SCHEMA,
  SECTIONS,
  type Setting,
  type SettingName,
} from './schema.ts';
import { inlineToml } from './toml.ts';

/** The reference of all settings, in Markdown; made from the schema by `npm run docs`. */
export function referencePage(): string {
  const sections = eachSection((title, names) => {
    const settings = names.map((name) => {
      const { type, default: standard, doc, reloads }: Setting<unknown> = SCHEMA[name];
      const names = `\`--${flagName(name)}\`, \`${environmentName(name)}\`, \`${fileKey(name)}\``;
      const value = `Value: \`${type.placeholder}\`.${standard ? ` Default: \`${standard}\`.` : ''}${reloads ? ' Read anew on SIGHUP.' : ''}`;
      return `### ${fileKey(name)}\n\n${names}\n\n${doc} ${value}\n`;
    });
    return `## ${title}\n\n${settings.join('\n')}`;
  });
  return `# Settings

Made from the schema by \`npm run docs\`; \`--help\` says the same. Each setting is a flag, an environment variable and a key of a TOML file ([example](../deploy/dockerproxy.example.toml)). Flags come before variables, these before the file, the file before the defaults. The file is \`/etc/dockerproxy/dockerproxy.toml\` for root and \`~/.config/dockerproxy/dockerproxy.toml\` for others, or what \`--config\` or \`DOCKERPROXY_CONFIG\` names. Lists are written with commas, in the file also as arrays. \`dockerproxy check-config\` prints what is in force and where it comes from.

${sections.join('\n')}`;
}

/** A file with every setting in a comment, at its default or an example; made by `npm run docs`. */
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
  return `# DockerProxy's settings, all of them optional: what stands here is the default or, where there is none, an example.
# As root it reads /etc/dockerproxy/dockerproxy.toml; \`dockerproxy check-config\` tells what is in force.

${sections.join('\n')}`;
}

function eachSection(write: (title: string, names: readonly SettingName[]) => string): string[] {
  const all = Object.keys(SCHEMA) as SettingName[];
  return Object.entries(SECTIONS).map(([section, title]) =>
    write(
      title,
      all.filter((name) => SCHEMA[name].section === section),
    ),
  );
}

/** As one writes it in a file: lists as arrays, numbers and switches without quotes. */
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
