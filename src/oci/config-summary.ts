import { isJsonObject, type JsonObject } from './json.ts';

/** The run configuration of an image, as its publisher states it. */
export interface ConfigSummary {
  readonly entrypoint: readonly string[] | undefined;
  readonly command: readonly string[] | undefined;
  readonly workingDir: string | undefined;
  readonly user: string | undefined;
  /** `80/tcp` */
  readonly exposedPorts: readonly string[];
  /** True if a text or list was truncated because it is too long. A truncated text ends with `…`. */
  readonly truncated: boolean;
}

/** Maximum characters of one text, the same as for a path. */
const TEXT_MAX = 4096;
/** Maximum characters of all texts of a summary in total. */
const SUMMARY_MAX = 16 * 1024;
/** Maximum number of texts in a list. */
const LIST_MAX = 256;

/**
 * Reads the `config` member of an image config, which Docker's inspection of an image has, too.
 *
 * @see https://github.com/opencontainers/image-spec/blob/main/config.md#properties
 */
export function summariseConfig(config: unknown): ConfigSummary {
  const { Entrypoint, Cmd, WorkingDir, User, ExposedPorts }: JsonObject = isJsonObject(config) ? config : {};
  const cut = createCutter();
  return {
    workingDir: cut.text(textOf(WorkingDir)),
    user: cut.text(textOf(User)),
    entrypoint: cut.texts(textsOf(Entrypoint)),
    command: cut.texts(textsOf(Cmd)),
    exposedPorts: cut.texts(isJsonObject(ExposedPorts) ? Object.keys(ExposedPorts) : []) ?? [],
    truncated: cut.hasCut(),
  };
}

/** Parses a time of RFC 3339; undefined if it is invalid or the zero time, which means unknown. */
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

interface Cutter {
  text(text: string | undefined): string | undefined;
  texts(texts: readonly string[] | undefined): readonly string[] | undefined;
  hasCut(): boolean;
}

/** Limits the texts of a summary, individually and in total, because a config may contain 4 MiB of them. */
function createCutter(): Cutter {
  let left = SUMMARY_MAX;
  let isCut = false;
  const shorten = (text: string): string => {
    const most = Math.min(TEXT_MAX, left);
    left -= Math.min(text.length, most);
    if (text.length <= most) return text;
    isCut = true;
    // Copies the text, because a slice would keep the whole original in memory.
    return `${Buffer.from(text.slice(0, most)).toString()}…`;
  };
  return {
    text: (text) => (text === undefined ? undefined : shorten(text)),
    texts(texts) {
      const kept: string[] = [];
      for (const text of texts ?? []) {
        if (left === 0 || kept.length === LIST_MAX) {
          isCut = true;
          break;
        }
        kept.push(shorten(text));
      }
      return texts === undefined ? undefined : kept;
    },
    hasCut: () => isCut,
  };
}
