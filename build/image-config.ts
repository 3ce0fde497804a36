/** The part of an image's config that says how to run it. See image-spec, section "Properties" of config.md. */
export interface RunConfig {
  User?: string;
  ExposedPorts?: Record<string, object>;
  Env?: string[];
  Entrypoint?: string[];
  Volumes?: Record<string, object>;
  Healthcheck?: { Test: string[]; Interval?: number; Timeout?: number; StartPeriod?: number };
}

const NANOSECONDS = 1e9;

/**
 * Reads the last stage of a Dockerfile, except the instructions that make files.
 *
 * @throws Error for an instruction that it does not know
 */
export function runConfigOf(dockerfile: string): RunConfig {
  const lines = dockerfile
    .replaceAll(/^#.*\n/gm, '')
    .replaceAll(/\\\n\s*/g, '')
    .split('\n');
  const stage = lines.slice(lines.findLastIndex((line) => line.startsWith('FROM ')) + 1);
  const config: RunConfig = {};
  for (const line of stage.filter((text) => text !== '')) {
    const [, name = '', value = ''] = /^([A-Z]+) +(.*)$/.exec(line) ?? [];
    switch (name) {
      case 'COPY':
        break;
      case 'ENV':
        config.Env = value.split(/ +/);
        break;
      case 'USER':
        config.User = value;
        break;
      case 'VOLUME':
        config.Volumes = Object.fromEntries(JSON.parse(value).map((path: string) => [path, {}]));
        break;
      case 'EXPOSE':
        config.ExposedPorts = Object.fromEntries(value.split(/ +/).map((port) => [`${port}/tcp`, {}]));
        break;
      case 'ENTRYPOINT':
        config.Entrypoint = JSON.parse(value);
        break;
      case 'HEALTHCHECK':
        config.Healthcheck = healthcheckOf(value);
        break;
      default:
        throw new Error(`The Dockerfile has an unknown instruction: ${line}`);
    }
  }
  return config;
}

function healthcheckOf(value: string): Required<RunConfig>['Healthcheck'] {
  const [, options = '', command = ''] = /^(.*?)CMD (.*)$/.exec(value) ?? [];
  const seconds = (option: string): number => {
    const [, count] = new RegExp(`--${option}=(\\d+)s`).exec(options) ?? [];
    return Number(count) * NANOSECONDS;
  };
  return {
    Test: ['CMD', ...JSON.parse(command)],
    Interval: seconds('interval'),
    Timeout: seconds('timeout'),
    StartPeriod: seconds('start-period'),
  };
}
