import { StringDecoder } from 'node:string_decoder';
import { isJsonObject, type JsonObject, parseJsonObject } from '../../oci/json.ts';
import type { LayerProgress } from '../image-source.ts';

/** Tracks the progress messages of a pull. */
export interface PullProgress {
  /** The layers, in the order in which they were first named. */
  readonly layers: readonly LayerProgress[];
  /** Bytes of all layers to fetch, as far as the engine has reported them. */
  readonly size: number;
  /** True while the engine downloads layers and reports their bytes, and verifies or unpacks none. */
  readonly isFetching: boolean;
  /**
   * Reads a line.
   *
   * @returns the error message of the engine, which it sends in a response with status 200; undefined for another line
   */
  take(line: JsonObject): string | undefined;
}

/** @see https://docs.docker.com/reference/api/engine/version/v1.41/#tag/Image/operation/ImageCreate */
export function createPullProgress(): PullProgress {
  const layers = new Map<string, LayerProgress>();
  const sizes = new Map<string, number>();
  return {
    get layers() {
      return [...layers.values()];
    },
    get size() {
      return [...sizes.values()].reduce((sum, size) => sum + size, 0);
    },
    get isFetching() {
      const all = [...layers.values()];
      const isAtWork = all.some(({ status }) => /^(?:Verifying|Extracting)/.test(status));
      return !isAtWork && all.some(({ status, total }) => status === 'Downloading' && total !== undefined);
    },
    take({ id, status, progressDetail, errorDetail, error }) {
      const message = isJsonObject(errorDetail) ? errorDetail.message : error;
      if (message !== undefined || error !== undefined) return `${message ?? error}`;
      // The first line has the tag in place of an ID.
      if (typeof id !== 'string' || typeof status !== 'string' || /^Pulling from/.test(status))
        return undefined;
      const { current, total } = isJsonObject(progressDetail) ? progressDetail : {};
      if (typeof total === 'number') sizes.set(id, total);
      layers.set(id, {
        id,
        status,
        ...(typeof current === 'number' && { current }),
        ...(typeof total === 'number' && { total }),
      });
      return undefined;
    },
  };
}

/** Characters; an engine's lines have a few hundred. */
const LONGEST_LINE = 1024 * 1024;

/** Reads a stream of JSON objects, one a line. Other lines are skipped. */
export async function* jsonLines(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<JsonObject, void> {
  const decoder = new StringDecoder('utf8');
  let rest = '';
  for await (const chunk of chunks) {
    const lines = (rest + decoder.write(Buffer.from(chunk))).split('\n');
    rest = lines.pop() ?? '';
    if (rest.length > LONGEST_LINE) rest = '';
    for (const line of lines) {
      const object = parseJsonObject(Buffer.from(line));
      if (object !== undefined) yield object;
    }
  }
  const last = parseJsonObject(Buffer.from(rest));
  if (last !== undefined) yield last;
}
