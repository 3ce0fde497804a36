/** The rules that a source of images imposes on other settings. */
export interface SourceRules {
  /** The reason for a single process; undefined if several processes can share the work. */
  readonly oneProcess: string | undefined;
  /** The reason why a signature proves nothing about an archive; undefined if it does. */
  readonly unverifiable: string | undefined;
}

const TABLE = {
  registry: { oneProcess: undefined, unverifiable: undefined },
  engine: {
    oneProcess: 'pulls wait in the queue of one process',
    unverifiable: 'an engine does not save the signed bytes, so that no signature can be checked',
  },
} satisfies Readonly<Record<string, SourceRules>>;

/** The name of a source of images. */
export type SourceName = keyof typeof TABLE;

/** The sources of images; `app/images.ts` opens each. */
export const SOURCES: Readonly<Record<SourceName, SourceRules>> = TABLE;

/** The names of all sources, the default first. */
export const SOURCE_NAMES = Object.keys(TABLE) as SourceName[];
