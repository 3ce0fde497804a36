import { ARTIFACT_FORMAT, DEFAULT_FORMAT, FORMAT_NAMES } from '../archive/format.ts';
import { environmentName, fileKey, flagName, SCHEMA, SECTIONS, type Setting } from '../config/schema.ts';

/** Generates the text of `--help` from the schema. */
export function helpText(): string {
  const sections = Object.entries(SECTIONS).map(([section, title]) => {
    const settings = Object.entries<Setting<unknown>>(SCHEMA).filter(
      ([, setting]) => setting.section === section,
    );
    return `${title}:\n\n${settings.map(describe).join('\n')}`;
  });
  return `DockerProxy: any container image as one tar file

Usage: dockerproxy [command] [flags]        (npm start -- [flags] in a clone)

  serve           serves images over HTTP; the default command
  save IMAGE…     writes images to one tar file, without a server; resumes an interrupted download from the cache
      -o, --output FILE        a file, a folder, or - for stdout; default: the image's name, in the current folder
      --platform OS/ARCH       default: --default-platform; with --format oci also a comma-separated list or all
      --format ${FORMAT_NAMES.join('|').padEnd(15)} default: ${DEFAULT_FORMAT}; ${ARTIFACT_FORMAT} for anything but an image
      --compress gzip|zstd     compresses a root file system; requires --format rootfs
      --squash                 joins the layers of each image; requires --format docker-classic
      --referrers              adds signatures and other referrers; requires --format oci
      --have IMAGE|DIGEST      omits layers that the receiver already has; repeatable
      --parts SIZE             splits the file into parts below this size; with --part N writes only part N
      --checksum               also writes FILE.sha256, for sha256sum -c
      --metalink               also writes FILE.meta4, for aria2c; requires --replicas
      --user [REGISTRY/]NAME   reads a private image; asks for the password, or reads it from DOCKERPROXY_PASSWORD
      --password-stdin         reads the password from stdin
  ls IMAGE [PATH] lists a directory of an image; -R or --recursive also lists what is below it; --user as for save
  cat IMAGE PATH  writes a file of an image to stdout, and a directory as a tar archive
  check-config    prints the settings in effect and the source of each
  certificate status
                  describes the certificate in use, the next order, and the last failure
  certificate renew
                  requests a renewal from the running service, and waits for it
  certificate test
                  orders from the staging directory, and discards the certificate
  healthcheck     exits with 0 if the service with these settings responds on this machine

Flags override environment variables, which override the file. Settings that are not set have their defaults.

${sections.join('\n\n')}

Other flags:

  --config FILE
      The TOML file. Default: /etc/dockerproxy/dockerproxy.toml for root, otherwise ~/.config/dockerproxy/dockerproxy.toml.
      DOCKERPROXY_CONFIG
  --help, --version
`;
}

function describe([name, { type, default: standard, doc, reloads }]: [string, Setting<unknown>]): string {
  return [
    `  --${flagName(name)} ${type.placeholder}`,
    `      ${doc}${standard ? ` Default: ${standard}.` : ''}${reloads ? ' Reloaded on SIGHUP.' : ''}`,
    `      ${environmentName(name)}, or ${fileKey(name)} in the file`,
  ].join('\n');
}
