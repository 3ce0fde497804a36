import { readFileSync } from 'node:fs';

/** The version of DockerProxy, as in package.json: `1.0.0`. */
export const { version } = JSON.parse(
  readFileSync(new URL('../../package.json', import.meta.url), 'utf8'),
) as {
  readonly version: string;
};
