import { environmentName, fileKey, flagName, SCHEMA, SECTIONS, type Setting } from './schema.ts';

/** The text of `--help`, made from the schema. */
export function helpText(): string {
  const sections = Object.entries(SECTIONS).map(([section, title]) => {
    const settings = Object.entries<Setting<unknown>>(SCHEMA).filter(
      ([, setting]) => setting.section === section,
    );
    return `${title}:\n\n${settings.map(describe).join('\n')}`;
  });
  return `DockerProxy: any container image as one tar file

Usage: dockerproxy [command] [flags]        (npm start -- [flags] in a clone)

  serve           serves images over HTTP; what is done without a command
  save IMAGE…     writes images to one tar file, without a server; what was broken off goes on from the cache
      -o, --output FILE        a file, a folder, or - for stdout; default: the image's name, here
      --platform OS/ARCH       default: --default-platform; with --format oci also a comma list, or all
      --format docker|oci      default: docker, which is both
      --referrers              with --platform all: signatures, too
      --have IMAGE|DIGEST      leaves out layers that the receiver has; may be given several times
      --parts SIZE             writes parts, each smaller than that; with --part N only one of them
      --checksum               writes FILE.sha256 beside it, for sha256sum -c
      --metalink               writes FILE.meta4 beside it, for aria2c; with --replicas
  check-config    prints the settings in force and where each comes from
  healthcheck     ends with 0 if the service with these settings answers on this machine

Flags come before environment variables, these before the file, the file before the defaults.

${sections.join('\n\n')}

And:

  --config FILE
      The TOML file. Default: /etc/dockerproxy/dockerproxy.toml for root, otherwise ~/.config/dockerproxy/dockerproxy.toml.
      DOCKERPROXY_CONFIG
  --help, --version
`;
}

function describe([name, { type, default: standard, doc, reloads }]: [string, Setting<unknown>]): string {
  return [
    `  --${flagName(name)} ${type.placeholder}`,
    `      ${doc}${standard ? ` Default: ${standard}.` : ''}${reloads ? ' Read anew on SIGHUP.' : ''}`,
    `      ${environmentName(name)}, or ${fileKey(name)} in the file`,
  ].join('\n');
}
