import { isJsonObject, type JsonObject, parseJsonObject } from './json.ts';

/** What an image says of how it runs; every part is its publisher's claim. */
export interface ConfigSummary {
  readonly entrypoint: readonly string[] | undefined;
  readonly command: readonly string[] | undefined;
  readonly workingDir: string | undefined;
  readonly user: string | undefined;
  /** `80/tcp` */
  readonly exposedPorts: readonly string[];
}

/**
 * Reads the `config` member of an image config, which Docker's inspection of an image has, too.
 *
 * @see https://github.com/opencontainers/image-spec/blob/main/config.md#properties
 */
export function summariseConfig(config: unknown): ConfigSummary {
  const { Entrypoint, Cmd, WorkingDir, User, ExposedPorts }: JsonObject = isJsonObject(config) ? config : {};
  return {
    entrypoint: textsOf(Entrypoint),
    command: textsOf(Cmd),
    workingDir: textOf(WorkingDir),
    user: textOf(User),
    exposedPorts: isJsonObject(ExposedPorts) ? Object.keys(ExposedPorts) : [],
  };
}

/** What an image config tells beside its layers; nothing of it can be wrong enough to refuse the image. */
export function readConfigFacts(bytes: Uint8Array): {
  readonly created: Date | undefined;
  readonly summary: ConfigSummary;
} {
  const body = parseJsonObject(bytes) ?? {};
  return {
    created: parseTimestamp(body.created),
    summary: summariseConfig(body.config),
  };
}

/** Reads a time of RFC 3339; undefined for what is none, and for the zero that stands for none. */
export function parseTimestamp(value: unknown): Date | undefined {
  const time = typeof value === 'string' ? Date.parse(value) : Number.NaN;
  // Go's zero time is in the year 1; reproducible builds say 1970.
  return time > 0 ? new Date(time) : undefined;
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}

function textsOf(value: unknown): readonly string[] | undefined {
  if (!Array.isArray(value)) return undefined;
  const texts = value.filter((item) => typeof item === 'string');
  return texts.length === 0 ? undefined : texts;
}
