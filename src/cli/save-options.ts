import { ARTIFACT_FORMAT, DEFAULT_FORMAT, FORMAT_NAMES } from '../archive/format.ts';
import { COMPRESSIONS } from '../download/compression.ts';
import type { ParameterName } from '../download/parameters.ts';
import type { CommandOption, CommandOptions } from './command-options.ts';
import { LOGIN_OPTIONS } from './login-options.ts';

/** Parameters of a download that are not flags: words name the images, and the others concern only HTTP. */
type OnlyInUrls = 'myimage' | 'stream' | 'redirect';

/** The parameters of a download that are flags. */
export type DownloadFlag = Exclude<ParameterName, OnlyInUrls>;

/** The parameters of a download as flags of `save`. */
export const DOWNLOAD_OPTIONS: Readonly<Record<DownloadFlag, CommandOption>> = {
  platform: {
    value: 'OS/ARCH',
    completes: ['linux/amd64', 'linux/arm64', 'linux/arm/v7', 'all'],
    doc: 'platform: linux/arm64, or arm64 for short; with --format oci, also a list with commas, or all',
  },
  format: {
    value: 'FORMAT',
    completes: FORMAT_NAMES,
    doc: `${FORMAT_NAMES.join(', ')}. Default: ${DEFAULT_FORMAT}, and ${ARTIFACT_FORMAT} for artifacts`,
  },
  name: { value: 'NAME', doc: 'the name by which the image loads: app:2' },
  compress: {
    value: COMPRESSIONS.join('|'),
    completes: COMPRESSIONS,
    doc: 'compresses the file; with --format rootfs',
  },
  squash: { doc: 'joins the layers of each image; with --format docker-classic' },
  referrers: { doc: 'adds signatures and other referrers; with --format oci' },
  have: { value: 'IMAGE|DIGEST', doc: 'omits layers that the receiver has; repeatable' },
  parts: { value: 'SIZE', doc: 'splits the file into parts below this size: 4GiB' },
  part: { value: 'N', doc: 'writes only this part; with --parts' },
  checksum: { doc: 'also writes FILE.sha256, for sha256sum -c' },
  metalink: { doc: 'also writes FILE.meta4, for aria2c; with --replicas' },
};

/** The flag that reports registries, mirrors, and users. */
export const VERBOSE_OPTION: CommandOptions = {
  verbose: { short: 'v', doc: 'reports the registries, mirrors, and user names in use' },
};

/** The flags of `save`. */
export const SAVE_OPTIONS: CommandOptions = {
  output: {
    short: 'o',
    value: 'FILE',
    completes: 'files',
    doc: 'file, folder, or - for stdout. Default: a file with the image’s name, in the current folder',
  },
  from: {
    value: 'FILE|-',
    completes: 'files',
    doc: 'reads the images from a list, a compose file, or Kubernetes manifests',
  },
  ...DOWNLOAD_OPTIONS,
  ...LOGIN_OPTIONS,
  ...VERBOSE_OPTION,
};
