import { environmentName, fileKey, flagName, SCHEMA, type Setting } from './schema.ts';

/** The text of `--help`, made from the schema. */
export function helpText(): string {
  const settings = Object.entries<Setting<unknown>>(SCHEMA).map(([name, { type, default: standard, doc }]) =>
    [
      `  --${flagName(name)} ${type.placeholder}`,
      `      ${doc}${standard ? ` Default: ${standard}.` : ''}`,
      `      ${environmentName(name)}, or ${fileKey(name)} in the file`,
    ].join('\n'),
  );
  return `DockerProxy: any container image as one tar file

Usage: npm start -- [flags]

Flags come before environment variables, these before the file, the file before the defaults.

${settings.join('\n')}
  --config FILE
      The TOML file. Default: /etc/dockerproxy/dockerproxy.toml for root, otherwise ~/.config/dockerproxy/dockerproxy.toml.
      DOCKERPROXY_CONFIG
  --help, --version
`;
}
